import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event, text

from tuneward.digests import canonical_json, leaf_hash, merkle_root
from tuneward.errors import ProofError, StorageError
from tuneward.governance import audit
from tuneward.governance.change import change
from tuneward.governance.keys import Keys
from tuneward.governance.notes import sign
from tuneward.storage.repository import canonical_noun


def add(office, count):
    for n in range(count):
        with change(office, "answer.start", f"ans_{n}") as made:
            made.note(tokens=n)


@pytest.fixture
def logged(solo):
    """Ten events; checkpoints of size 4 and 8."""
    add(solo, 3)
    audit.checkpoint(solo)
    add(solo, 4)
    audit.checkpoint(solo)
    add(solo, 2)
    return solo


def check(office, **kept):
    return audit.check_log(office.site, office.keys.public, **kept)


def found(office, **kept):
    return [(fault.code, fault.place) for fault in check(office, **kept).faults]


def tamper(office, *statements):
    with office.site.database.write() as c:
        for statement in statements:
            c.execute(text(statement))


def forget_checkpoints(office, *sizes):
    tamper(office, *(f"DELETE FROM log_checkpoint WHERE size = {size}" for size in sizes))
    for size in sizes:
        (office.site.log_folder / f"checkpoint-{size}.txt").unlink()


def test_a_sound_log(logged):
    result = check(logged)
    assert (result.size, result.checkpoints, result.covered, result.faults) == (10, 2, 8, ())
    with logged.site.database.read() as c:
        events = list(audit.events(c))
        assert [event.seq for event in audit.events(c, since=7)] == [7, 8, 9]
        assert [event.seq for event in audit.events(c, action="site.create")] == [0]
    assert [event.seq for event in events] == list(range(10))
    assert result.root == merkle_root(canonical_noun(event) for event in events)


@pytest.mark.parametrize(
    "column", ["id", "at", "actor", "action", "subject", "decision", "policy", "writes", "detail", "leaf"]
)
@pytest.mark.parametrize("seq", [2, 9])
def test_an_edited_field_is_named(logged, column, seq):
    value = {"writes": '[{"kind": "run"}]', "detail": '{"tokens": 99}'}.get(column, "forged")
    tamper(logged, f"UPDATE audit_event SET \"{column}\" = '{value}' WHERE seq = {seq}")
    assert ("TW-PROOF-002", f"seq {seq}") in found(logged)


@pytest.mark.parametrize("value", ["not json", "[1", '{"tokens": NaN}', "5", "null", '["a"]', "\x00"])
def test_an_event_that_is_none_any_more_is_named(logged, value):
    with logged.site.database.write() as c:
        c.execute(text("UPDATE audit_event SET detail = :v WHERE seq = 5"), {"v": value})
    assert found(logged) == [("TW-PROOF-002", "seq 5")]


def forge(office, at_seq, **fields):
    """Edit an event and make its leaf fit, as somebody would who knows how we work."""
    with office.site.database.write() as c:
        old = next(event for event in audit.events(c, since=at_seq))
        values = vars(old) | fields
        leaf = leaf_hash(canonical_json(values | {"writes": list(values["writes"])})).hex()
        for name, value in {**fields, "leaf": leaf}.items():
            c.execute(text(f"UPDATE audit_event SET {name} = :v WHERE seq = :seq"), {"v": value, "seq": at_seq})


def test_an_edit_with_its_leaf_is_narrowed_to_the_events_between_two_checkpoints(logged):
    forge(logged, 5, actor="mallory")
    assert found(logged) == [("TW-PROOF-004", "seq 4 to 7")]
    assert check(logged).covered == 4


def test_an_edit_with_its_leaf_beyond_the_last_checkpoint_cannot_be_told_and_is_not_claimed(logged):
    forge(logged, 9, actor="mallory")
    assert found(logged) == []
    assert check(logged).covered == 8


@pytest.mark.parametrize("seq", [0, 5, 8])
def test_a_deleted_event_is_named(logged, seq):
    tamper(logged, f"DELETE FROM audit_event WHERE seq = {seq}")
    assert ("TW-PROOF-003", f"seq {seq}") in found(logged)


def test_a_deleted_range_is_named(logged):
    tamper(logged, "DELETE FROM audit_event WHERE seq BETWEEN 2 AND 4")
    assert found(logged) == [("TW-PROOF-003", "seq 2 to 4")]


def test_a_deleted_event_whose_gap_was_closed_is_found(logged):
    tamper(logged, "DELETE FROM audit_event WHERE seq = 5")
    for seq in range(6, 10):
        tamper(logged, f"UPDATE audit_event SET seq = {seq - 1} WHERE seq = {seq}")
    assert {("TW-PROOF-002", f"seq {seq}") for seq in range(5, 9)} <= set(found(logged))
    for seq in range(5, 9):
        forge(logged, seq, seq=seq)
    assert found(logged) == [("TW-PROOF-004", "seq 4 to 7")]


def test_swapped_events_are_named(logged):
    tamper(
        logged,
        "UPDATE audit_event SET seq = -1 WHERE seq = 5",
        "UPDATE audit_event SET seq = 5 WHERE seq = 6",
        "UPDATE audit_event SET seq = 6 WHERE seq = -1",
    )
    assert {("TW-PROOF-002", "seq 5"), ("TW-PROOF-002", "seq 6")} <= set(found(logged))
    forge(logged, 5, seq=5)
    forge(logged, 6, seq=6)
    assert found(logged) == [("TW-PROOF-004", "seq 4 to 7")]


def test_an_inserted_event_is_named(logged):
    for seq in range(9, 4, -1):
        tamper(logged, f"UPDATE audit_event SET seq = {seq + 1} WHERE seq = {seq}")
    tamper(
        logged,
        "INSERT INTO audit_event SELECT "
        "'evt_forged', 5, at, actor, action, subject, decision, policy, writes, detail, leaf "
        "FROM audit_event WHERE seq = 4",
    )
    assert ("TW-PROOF-002", "seq 5") in found(logged)
    for seq in range(5, 11):
        forge(logged, seq, seq=seq)
    assert found(logged) == [("TW-PROOF-004", "seq 4 to 7")]


def test_a_seq_that_is_no_number(logged):
    tamper(logged, "UPDATE audit_event SET seq = 'x' WHERE seq = 9")
    assert [code for code, _ in found(logged)] == ["TW-PROOF-003", "TW-PROOF-002"]


def test_a_cut_off_tail_is_found_through_the_exported_file_alone(logged):
    tamper(logged, "DELETE FROM audit_event WHERE seq >= 6", "DELETE FROM log_checkpoint WHERE size = 8")
    assert found(logged) == [("TW-PROOF-005", "seq 6 to 7")]


def test_a_cut_off_tail_is_found_through_a_checkpoint_kept_elsewhere(logged):
    kept = (logged.site.log_folder / "checkpoint-8.txt").read_text()
    forget_checkpoints(logged, 4, 8)
    tamper(logged, "DELETE FROM audit_event WHERE seq >= 6")
    assert found(logged) == []
    assert found(logged, kept=[kept]) == [("TW-PROOF-005", "seq 6 to 7")]


def test_a_cut_off_tail_that_no_checkpoint_covers_is_not_claimed(logged):
    tamper(logged, "DELETE FROM audit_event WHERE seq = 9")
    assert (check(logged).faults, check(logged).covered) == ((), 8)


def test_forged_checkpoints_are_named(logged):
    path = logged.site.log_folder / "checkpoint-8.txt"
    note = path.read_text()
    forged = Keys(signing=Ed25519PrivateKey.generate(), site_secret=b"x" * 32)
    name, size, root = note.split("\n")[:3]
    for wrong in (
        note.replace("\n8\n", "\n9\n"),
        note.replace("\n8\n", "\n08\n"),
        note.replace(root, base64.b64encode(b"x" * 32).decode()),
        note.replace(root, base64.b64encode(b"x" * 31).decode()),
        note[:-8] + "AAAA" + note[-4:],
        note.rstrip("\n"),
        note.replace(logged.site.id, "site_other"),
        sign(name, int(size), base64.b64decode(root).hex(), forged),
        sign("tuneward/site_other", int(size), base64.b64decode(root).hex(), logged.keys),
        "",
        "\udcff",
    ):
        path.write_text(wrong, errors="surrogateescape")
        assert found(logged) == [("TW-PROOF-006", str(path))], wrong
    path.write_text(note)
    assert found(logged) == []


def test_a_note_with_further_signatures_is_good(logged):
    path = logged.site.log_folder / "checkpoint-8.txt"
    witness = f"\u2014 witness {base64.b64encode(b'1234' + b'x' * 64).decode()}\n"
    path.write_text(path.read_text() + witness)
    assert found(logged) == []


def test_an_edited_checkpoint_row_is_named(logged):
    tamper(logged, f"UPDATE log_checkpoint SET root = '{'0' * 64}' WHERE size = 8")
    assert found(logged) == [("TW-PROOF-006", "log_checkpoint 8")]


def test_a_fork_is_named(logged):
    kept = sign(f"tuneward/{logged.site.id}", 8, "ab" * 32, logged.keys)
    assert ("TW-PROOF-007", str(logged.site.log_folder / "checkpoint-8.txt")) in found(logged, kept=[kept])


def test_the_wrong_public_key_finds_nothing_good(logged):
    stranger = Ed25519PrivateKey.generate().public_key()
    faults = audit.check_log(logged.site, stranger).faults
    assert [fault.code for fault in faults] == ["TW-PROOF-006"] * 4


def test_asking_twice_gives_the_same_note(logged):
    first = audit.checkpoint(logged)
    assert audit.checkpoint(logged) == first
    assert (logged.site.log_folder / "checkpoint-10.txt").read_text() == first
    (logged.site.log_folder / "checkpoint-10.txt").unlink()
    assert audit.checkpoint(logged) == first
    assert (logged.site.log_folder / "checkpoint-10.txt").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_event WHERE seq = 9",
        "DELETE FROM audit_event WHERE seq > 5",
        "DELETE FROM audit_event WHERE seq = 3",
        "UPDATE log_checkpoint SET peaks = '[[3, \"" + "0" * 64 + "\"]]'",
        "UPDATE log_checkpoint SET root = '" + "0" * 64 + "'",
    ],
)
def test_a_log_that_contradicts_itself_is_not_signed(logged, statement):
    audit.checkpoint(logged)
    tamper(logged, statement)
    before = sorted(path.name for path in logged.site.log_folder.iterdir())
    with pytest.raises(ProofError):
        audit.checkpoint(logged)
    assert sorted(path.name for path in logged.site.log_folder.iterdir()) == before


def test_appending_costs_the_same_in_a_long_log(logged):
    statements = []
    with logged.site.database.write() as c:
        event.listen(c, "before_cursor_execute", lambda *values: statements.append(values[2:4]))
        audit.append(c, actor="ann", action="answer.start", subject="x", decision="done", policy="p")
        assert len(statements) == 2
        plan = c.exec_driver_sql("EXPLAIN QUERY PLAN " + statements[0][0]).fetchall()
    (step,) = (row[-1] for row in plan)
    assert step.startswith("SEARCH audit_event USING COVERING INDEX")  # a scan would read the whole log


def test_a_checkpoint_reads_only_the_events_since_the_last(logged, monkeypatch):
    hashed = []
    original = audit.leaf_data
    monkeypatch.setattr(audit, "leaf_data", lambda event: hashed.append(event.seq) or original(event))
    audit.checkpoint(logged)
    assert hashed == [8, 9]


def test_a_long_log(solo):
    with solo.site.database.write() as c:
        for n in range(1500):
            audit.append(c, actor="ann", action="answer.start", subject=f"{n}", decision="done", policy="p")
    audit.checkpoint(solo)
    tamper(solo, "UPDATE audit_event SET actor = 'x' WHERE seq = 1234")
    assert found(solo) == [("TW-PROOF-002", "seq 1234")]


def restore(office, *, before, size):
    """Put back a copy of the database, as a backup does; the exported checkpoints stay."""
    tamper(
        office,
        f"DELETE FROM audit_event WHERE seq >= {before}",
        f"DELETE FROM log_checkpoint WHERE size >= {size}",
    )


def test_a_restored_older_database_signs_no_second_history(logged):
    exported = logged.site.log_folder / "checkpoint-8.txt"
    note = exported.read_text()
    restore(logged, before=5, size=8)
    with pytest.raises(ProofError) as shorter:
        audit.checkpoint(logged)
    assert [(f.code, f.place) for f in shorter.value.faults] == [("TW-PROOF-005", str(exported))]
    add(logged, 3)
    for count in (8, 9):  # as long as the exported one, and longer
        with pytest.raises(ProofError) as forked:
            audit.checkpoint(logged)
        assert [(f.code, f.place) for f in forked.value.faults] == [("TW-PROOF-007", str(exported))], count
        add(logged, 1)
    assert exported.read_text() == note


def test_a_forged_file_does_not_hinder_a_checkpoint(logged):
    (logged.site.log_folder / "checkpoint-99.txt").write_text("no note")
    assert audit.checkpoint(logged).split("\n")[1] == "10"


@pytest.mark.parametrize("peaks", ['[[2, "x"]]', "[1]", "null", "[[0, 5], [3, 0]]", '[[-1, ""]]'])
def test_damaged_peaks_are_a_contradiction_and_no_crash(logged, peaks):
    tamper(logged, f"UPDATE log_checkpoint SET peaks = '{peaks}' WHERE size = 8")
    with pytest.raises(ProofError):
        audit.checkpoint(logged)


@pytest.mark.parametrize("value", ["null", "5", '{"a": 1}'])
def test_an_event_whose_writes_are_none_any_more_is_read_and_named(logged, value):
    tamper(logged, f"UPDATE audit_event SET writes = '{value}' WHERE seq = 5")
    with logged.site.database.read() as c:
        assert len(list(audit.events(c))) == 10
    assert found(logged) == [("TW-PROOF-002", "seq 5")]


def test_the_newest_events_are_read_without_the_others(logged):
    statements = []
    with logged.site.database.read() as c:
        event.listen(c, "before_cursor_execute", lambda *values: statements.append(values[2:4]))
        assert [e.seq for e in audit.newest_events(c, last=3)] == [7, 8, 9]
        assert [e.seq for e in audit.newest_events(c, last=3, subject="ans_0")] == [1, 4, 8]
        plan = c.exec_driver_sql("EXPLAIN QUERY PLAN " + statements[0][0], statements[0][1]).fetchall()
    assert "TEMP B-TREE" not in str(plan)


def test_only_checkpoints_that_may_contradict_what_comes_are_opened(logged, monkeypatch):
    opened = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or b"")
    audit.checkpoint(logged)
    assert {name for name in opened if name.startswith("checkpoint-")} == {"checkpoint-8.txt"}


def test_uncovered_counts_what_came_since_the_last_checkpoint(logged):
    assert audit.uncovered(logged.site) == 2
    audit.checkpoint(logged)
    assert audit.uncovered(logged.site) == 0


def test_a_row_with_damaged_json_is_named_and_the_log_with_it_not_signed(logged):
    tamper(
        logged,
        "UPDATE audit_event SET detail = '{' WHERE seq = 9",
        "UPDATE log_checkpoint SET peaks = '[' WHERE size = 4",
    )
    assert set(found(logged)) == {("TW-PROOF-002", "seq 9"), ("TW-PROOF-006", "log_checkpoint 4")}
    with pytest.raises(StorageError, match="audit_event evt_"):
        audit.checkpoint(logged)


def test_an_exported_checkpoint_that_cannot_be_read_is_named(logged):
    path = logged.site.log_folder / "checkpoint-99.txt"
    path.mkdir()
    assert found(logged) == [("TW-STOR-012", str(path))]
