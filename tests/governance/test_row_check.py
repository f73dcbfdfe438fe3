import pytest
from sqlalchemy import text

from tests.storage import nouns
from tuneward.governance import audit, row_check
from tuneward.governance.change import change
from tuneward.governance.entering import enter
from tuneward.governance.row_check import check_rows
from tuneward.storage.tables import metadata


@pytest.fixture
def full(solo):
    with change(solo, "base.pull", nouns.BASE.id) as made:
        made.put(nouns.BASE)
    entered = enter(solo, nouns.DATASET, [*nouns.RECORDS, nouns.FINDING, nouns.TERMS])
    with change(solo, "dataset.prepare", "dat_1") as made:
        made.put_entered(entered)
        made.link(nouns.BASE, nouns.DATASET)
    with change(solo, "version.register", "ver_1") as made:
        for noun in (
            nouns.APPROVAL,
            nouns.RUN,
            nouns.ADAPTER,
            nouns.EVALUATION,
            nouns.VERSION,
            nouns.DEPLOYMENT,
            nouns.KEY,
            nouns.WITHDRAWAL,
            nouns.AFFECTED,
            nouns.DECISION,
        ):
            made.put(noun)
    assert check_rows(solo.site) == ()
    return solo


@pytest.mark.parametrize(
    ("statement", "code", "place"),
    [
        ("UPDATE evaluation SET passed = 0", "TW-PROOF-008", "evaluation evl_1"),
        ("UPDATE approval SET status = 'granted'", "TW-PROOF-008", "approval apr_1"),
        ("UPDATE record SET subject = NULL WHERE id = 'rec_1'", "TW-PROOF-008", "record dat_1"),
        ("DELETE FROM record WHERE id = 'rec_2'", "TW-PROOF-008", "record dat_1"),
        ("DELETE FROM finding", "TW-PROOF-008", "finding dat_1"),
        ("UPDATE finding SET action = 'allow'", "TW-PROOF-008", "finding dat_1"),
        ("DELETE FROM deployment", "TW-PROOF-008", "deployment dep_1"),
        ("INSERT INTO member VALUES ('mallory', '[\"owner\"]', 'now')", "TW-PROOF-009", "member mallory"),
        ("INSERT INTO edge VALUES ('a', 'b', 'c', 'd')", "TW-PROOF-009", "edge a:b>c:d"),
        ("UPDATE member SET roles = '[\"owner\", \"approver\"]' WHERE id = 'ann'", "TW-PROOF-008", "member ann"),
    ],
)
def test_a_row_changed_behind_the_logs_back_is_named(full, statement, code, place):
    with full.site.database.write() as c:
        c.execute(text(statement))
    (fault,) = check_rows(full.site)
    assert (fault.code, fault.place) == (code, place)
    assert audit.check_log(full.site, full.keys.public).faults == ()


def test_a_count_of_rows_that_an_export_noted_is_no_tampering(full):
    with change(full, "dataset.export", "dat_1") as made:
        made.note(rows=11)
    assert check_rows(full.site) == ()


@pytest.mark.parametrize("name", sorted(set(metadata.tables) - {"audit_event", "log_checkpoint", "entering"}))
def test_every_governed_table_is_covered(full, name):
    with full.site.database.write() as c:
        c.execute(text("PRAGMA defer_foreign_keys = ON"))
        c.execute(text(f'DELETE FROM "{name}"'))
        assert [fault for fault in row_check.faults_in(c) if fault.place.startswith(name)]
        c.rollback()
