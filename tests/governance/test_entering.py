import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.storage import nouns
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import TermsEntry, Withdrawal
from tuneward.errors import GovernanceError, StorageError
from tuneward.governance import consent, entering
from tuneward.governance.change import change
from tuneward.governance.entering import enter, sweep
from tuneward.governance.row_check import check_rows
from tuneward.governance.rows_digest import rows_digest
from tuneward.progress import Silent
from tuneward.storage import repository

SUBJECT = "s" * 64
ROWS = [
    RecordEntry(f"rec_{n}", nouns.DATASET.id, n, "train", SUBJECT, f"{n:064x}", f"a.jsonl:{n}", nouns.TERMS.id)
    for n in range(25)
]
FINDINGS = [replace(nouns.FINDING, record=row.id) for row in ROWS]
ENTRIES = [*ROWS, *FINDINGS, nouns.TERMS]
KINDS = (Dataset, RecordEntry, FindingEntry, TermsEntry)


@pytest.fixture
def office(solo, monkeypatch):
    monkeypatch.setattr(entering, "ROWS_AT_ONCE", 4)
    with change(solo, "base.pull", nouns.BASE.id) as made:
        made.put(nouns.BASE)
    return solo


def seen(office):
    with office.site.database.read() as c:
        return [len(repository.find(c, kind)) for kind in KINDS]


def left(office):
    with office.site.database.read() as c:
        tables = ("dataset", "record", "finding", "terms", "entering")
        return [c.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in tables]


def test_nobody_sees_a_dataset_before_its_event_is_there(office):
    def watched():
        for row in ENTRIES:
            assert seen(office) == [0, 0, 0, 0]
            assert check_rows(office.site) == ()
            with office.site.database.read() as c:
                assert repository.get(c, Dataset, nouns.DATASET.id) is None
                assert repository.latest(c, Dataset) is None
                assert list(repository.each(c, RecordEntry, dataset=nouns.DATASET.id)) == []
                assert consent.reached(c, SUBJECT) == {}
            yield row

    entered = enter(office, nouns.DATASET, watched())
    assert seen(office) == [0, 0, 0, 0]
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    assert seen(office) == [1, 25, 25, 1]
    assert check_rows(office.site) == ()
    told = {group["kind"]: (group["count"], group["digest"]) for group in made.event.detail["rows"]}
    assert told == {
        "record": (25, rows_digest(ROWS)),
        "finding": (25, rows_digest(FINDINGS)),
        "terms": (1, rows_digest([nouns.TERMS])),
    }
    assert {"kind": "dataset", "id": nouns.DATASET.id, "digest": repository.noun_digest(nouns.DATASET)} in list(
        made.event.writes
    )
    with office.site.database.read() as c:
        assert consent.reached(c, SUBJECT) == {nouns.DATASET.id: 25}


def test_other_writers_get_through_between_the_parts(office):
    other = sqlite3.connect(office.site.database.place, timeout=0, isolation_level=None)
    written = 0

    def interrupted():
        nonlocal written
        for number, row in enumerate(ENTRIES):
            if number % 4 == 0:  # a new part begins
                other.execute("BEGIN IMMEDIATE")
                other.execute("INSERT INTO member VALUES (?, '[]', 'now')", (f"m{number}",))
                other.execute("COMMIT")
                written += 1
            yield row

    enter(office, nouns.DATASET, interrupted())
    assert written == 13


def test_on_a_slow_disk_parts_grow_smaller_and_then_larger_again(office, monkeypatch):
    sizes, held = [], iter([1.0, 1.0, 1.0, 0.1, 0.1, *[0.1] * 99])
    clock = iter(number for taken in held for number in (0.0, taken))
    monkeypatch.setattr(entering.time, "monotonic", lambda: next(clock))

    class Heard(Silent):
        def advance(self, amount=1, **figures):
            sizes.append(amount)

    enter(office, nouns.DATASET, ENTRIES, progress=Heard())
    assert sizes[:6] == [4, 2, 1, 1, 2, 4]
    assert sum(sizes) == len(ENTRIES)


def test_what_was_broken_off_is_swept_and_the_whole_stays(office):
    whole = replace(nouns.DATASET, id="dat_whole")
    of_it = [replace(row, dataset=whole.id) for row in ENTRIES]
    entered = enter(office, whole, of_it)
    with change(office, "dataset.prepare", whole.id) as made:
        made.put_entered(entered)

    def broken_off():
        yield from ENTRIES[:45]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enter(office, nouns.DATASET, broken_off())
    assert left(office) == [2, 50, 44 - 25 + 25, 1, 1]
    sweep(office)
    assert left(office) == [1, 25, 25, 1, 0]
    assert check_rows(office.site) == ()
    entered = enter(office, nouns.DATASET, ENTRIES)
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    assert seen(office) == [2, 50, 50, 2]
    assert check_rows(office.site) == ()


def test_a_refusal_at_the_end_shows_nothing(office):
    entered = enter(office, nouns.DATASET, ENTRIES)
    nobody = replace(office, actor="nobody")
    with pytest.raises(GovernanceError), change(nobody, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    assert seen(office) == [0, 0, 0, 0]
    sweep(office)
    with pytest.raises(StorageError, match="TW-STOR-008"), change(office, "dataset.prepare", "dat_1") as made:
        made.put_entered(entered)
    assert seen(office) == [0, 0, 0, 0]


def test_a_row_changed_while_it_was_entered_is_named(office):
    entered = enter(office, nouns.DATASET, ENTRIES)
    with office.site.database.write() as c:
        c.execute(text("UPDATE record SET subject = NULL WHERE id = 'rec_3'"))
        c.execute(text("UPDATE dataset SET train_rows = 7"))
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    assert [(fault.code, fault.place) for fault in check_rows(office.site)] == [("TW-PROOF-008", "record dat_1")]


def test_a_whole_dataset_that_somebody_hides_is_named(office):
    entered = enter(office, nouns.DATASET, ENTRIES)
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    with office.site.database.write() as c:
        c.execute(text("INSERT INTO entering VALUES ('dat_1', 'now')"))
    assert {fault.place for fault in check_rows(office.site)} == {
        "dataset dat_1",
        "record dat_1",
        "finding dat_1",
        "terms dat_1",
    }


def test_a_consent_withdrawn_while_rows_were_entered_marks_the_dataset(office):
    withdrawal = Withdrawal(nouns.TERMS.consent, "asked", "ann", nouns.AT)

    def meanwhile():
        yield from ENTRIES[:10]
        with change(office, "consent.withdraw", withdrawal.id) as made:
            made.put(withdrawal)
            assert consent.mark(made, withdrawal) == []
        yield from ENTRIES[10:]

    entered = enter(office, nouns.DATASET, meanwhile())
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
        marks = consent.mark(made, withdrawal, dataset=nouns.DATASET.id)
    assert [(marked.noun, marked.rows) for marked in marks] == [(nouns.DATASET.id, 25)]


def test_what_was_marked_behind_the_logs_back_is_not_swept(office):
    entered = enter(office, nouns.DATASET, ENTRIES)
    with change(office, "dataset.prepare", nouns.DATASET.id) as made:
        made.put_entered(entered)
    with office.site.database.write() as c:
        c.execute(text("INSERT INTO entering VALUES (:dataset, '2026-01-01T00:00:00Z')"), {"dataset": nouns.DATASET.id})
    sweep(office)
    assert left(office) == [1, 25, 25, 1, 1]
    assert {fault.code for fault in check_rows(office.site)} == {"TW-PROOF-008"}
