"""The whole: all faults together, the fingerprint, the same bytes twice, the card."""

import errno
import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from data_cases import policy, prepare, refused, row, write_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneward.data import prepared as prepared_module
from tuneward.data.faults import LISTED_FAULTS
from tuneward.data.prepared import fingerprint_of
from tuneward.data.rows import canonical_row
from tuneward.digests import keyed_digest
from tuneward.domain.record import Record
from tuneward.errors import DataError

MAIL = "Call +49 170 1234567. " + " ".join(f"w{i}" for i in range(20))


@pytest.fixture
def project(tmp_path):
    rows = [row(MAIL, {"k": 1}, who="A"), row("b", "x", who="B"), row("b", "x", who="B"), row("t", who="C")]
    rows += [row("word " * 300, who="D"), row("key AKIAIOSFODNN7EXAMPLE", who="E"), row(MAIL + " z", {"k": 2}, who="F")]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "test.jsonl", [row("t", who="C"), row("u", who="A")])
    return tmp_path


SETTINGS = {"test": ["test.jsonl"], "subject": "who", "too_long": "drop", "legal_basis": "contract"}
RULES = policy({"api_key": "drop", "date": "allow", "*": "redact"})


def test_every_row_that_came_in_is_accounted_for(project):
    counts = prepare(project, rules=RULES, **SETTINGS).counts["train"]
    assert counts["read"] == counts["kept"] - counts["pieces"] + counts["split_rows"] + sum(counts["dropped"].values())
    assert counts["dropped"] == {"finding": 1, "duplicate": 1, "contamination": 1, "too_long": 1}


def test_faults_of_every_kind_are_told_at_once(tmp_path):
    write_rows(
        tmp_path / "train.jsonl", [row(answer=""), row("word " * 300), row("key AKIAIOSFODNN7EXAMPLE"), row("t")]
    )
    write_rows(tmp_path / "test.jsonl", [row("t")])
    rules = policy({"*": "block"}, contamination="block")
    codes = [code for code, _ in refused(tmp_path, test=["test.jsonl", "gone.jsonl"], rules=rules)]
    assert codes == ["TW-DATA-001", "TW-DATA-018", "TW-DATA-024", "TW-DATA-025", "TW-DATA-021"]


def test_the_list_of_faults_ends_and_the_count_is_exact(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row(answer="")] * 120 + [row(prompt="")] * 3)
    with pytest.raises(DataError) as caught:
        prepare(tmp_path)
    assert len(caught.value.faults) == LISTED_FAULTS + 1
    assert "and 73 more: 70 x TW-DATA-018" in caught.value.faults[-1].message
    assert "3 x TW-DATA-019" in caught.value.faults[-1].message


def test_no_usable_row_left(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("t")])
    write_rows(tmp_path / "test.jsonl", [row("t")])
    assert refused(tmp_path, test=["test.jsonl"]) == [("TW-DATA-020", "data.train")]


def test_the_same_inputs_give_the_same_bytes(project):
    for name in ("one", "two"):
        prepare(project, rules=RULES, **SETTINGS).write(project / name)
    names = sorted(path.name for path in (project / "one").iterdir())
    assert names == [
        *("card.html", "card.json", "content-summary.html", "content-summary.json"),
        *("findings.jsonl", "quality.jsonl", "terms.json", "test.jsonl", "train.jsonl"),
    ]
    for name in names:
        assert (project / "one" / name).read_bytes() == (project / "two" / name).read_bytes()


def test_the_fingerprint_can_be_made_again_from_what_was_written(project):
    prepared = prepare(project, rules=RULES, **SETTINGS)
    prepared.write(project / "out")
    lines = [line for n in ("train", "test") for line in (project / "out" / f"{n}.jsonl").read_bytes().splitlines()]
    assert fingerprint_of(keyed_digest(b"records", line) for line in lines) == prepared.fingerprint
    records = [Record.from_json(json.loads(line)) for line in lines]
    assert tuple(records) == (*prepared.train, *prepared.test)
    assert [canonical_row(r) for r in records] == lines


def test_one_changed_row_changes_the_fingerprint(project):
    before = prepare(project, rules=RULES, **SETTINGS).fingerprint
    path = project / "train.jsonl"
    path.write_text(path.read_text().replace('"b"', '"B!"', 1))
    assert prepare(project, rules=RULES, **SETTINGS).fingerprint != before


def test_entries_hold_ids_and_digests_only(project):
    prepared = prepare(project, rules=RULES, **SETTINGS)
    entries = list(prepared.entries("dat_1"))
    assert [e.digest for e in entries] == list(prepared.digests)
    assert [(e.split, e.position, e.source) for e in entries] == [
        ("train", 0, "train.jsonl:1"),
        ("train", 1, "train.jsonl:2"),
        ("train", 2, "train.jsonl:7"),
        ("test", 0, "test.jsonl:1"),
        ("test", 1, "test.jsonl:2"),
    ]


def test_a_full_disk_leaves_nothing_behind(project, monkeypatch):
    prepared = prepare(project, rules=RULES, **SETTINGS)

    def full(card):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepared_module, "render_card", full)
    with pytest.raises(DataError, match="free some space"):
        prepared.write(project / "out")
    assert not (project / "out").exists()


def test_a_folder_that_is_there_is_not_written_over(project):
    prepared = prepare(project, rules=RULES, **SETTINGS)
    (project / "out").mkdir()
    (project / "out" / "mine").write_text("keep")
    with pytest.raises(DataError):
        prepared.write(project / "out")
    assert (project / "out" / "mine").read_text() == "keep"


def only_k(answer):
    return None if answer == '{"k":1}' else "another"


def test_test_answers_that_cannot_be_references_are_refused_all_at_once(project):
    rows = [
        row(f"unseen question {number}", '{"k":1}' if number == 3 else "private", who="A") for number in range(1, 25)
    ]
    write_rows(project / "test.jsonl", rows)
    for judge_training in (True, False):
        with pytest.raises(DataError) as caught:
            prepare(project, rules=RULES, judge=only_k, judge_training=judge_training, **SETTINGS)
        (fault,) = caught.value.faults
        assert (fault.code, fault.place) == ("TW-DATA-030", "test.jsonl:1")
        for part in ("23 test rows", "test.jsonl:1 (another)", "test.jsonl:21 (another)", "and 3 more"):
            assert part in fault.message
        assert "test.jsonl:3 " not in fault.message
        assert "test.jsonl:22" not in fault.message
        assert "private" not in fault.message


def test_training_answers_are_not_judged_where_the_task_has_no_schema(project):
    write_rows(project / "test.jsonl", [row("an unseen question", '{"k":1}', who="A")])
    prepared = prepare(project, rules=RULES, judge=only_k, judge_training=False, **SETTINGS)
    assert prepared.counts["outside_schema"] is None


def test_answers_outside_the_schema_are_counted_and_named(project):
    write_rows(project / "test.jsonl", [row("an unseen question", '{"k":1}', who="A")])
    prepared = prepare(project, rules=RULES, judge=only_k, **SETTINGS)
    assert prepared.counts["outside_schema"] == len(prepared.card["places"]["outside_schema"])
    assert {"row": "train.jsonl:7"} in prepared.card["places"]["outside_schema"]
    assert {"row": "train.jsonl:1"} not in prepared.card["places"]["outside_schema"]


def test_the_card_loads_nothing_and_shows_no_text(project):
    prepared = prepare(project, rules=RULES, **SETTINGS)
    prepared.write(project / "out")
    page = (project / "out" / "card.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|url\(|@import|<script", page)
    assert prepared.fingerprint in page
    for text in ("AKIA", "1234567", "w19"):
        assert text not in page
        assert text not in (project / "out" / "card.json").read_text(encoding="utf-8")


def test_the_card_escapes_names(tmp_path):
    write_rows(tmp_path / "<i onclick=x>.jsonl", [row()])
    prepare(tmp_path, train=["<i onclick=x>.jsonl"]).write(tmp_path / "out")
    page = (tmp_path / "out" / "card.html").read_text(encoding="utf-8")
    assert "<i onclick" not in page
    assert "&lt;i onclick" in page


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=5))
def test_any_text_is_prepared_or_refused_but_never_crashes(tmp_path_factory, pairs):
    folder = Path(tmp_path_factory.mktemp("any"))
    lines = "".join(json.dumps(row(*pair)) + "\n" for pair in pairs)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    usable = all(prompt.strip() and answer.strip() for prompt, answer in pairs)
    with nullcontext() if usable else pytest.raises(DataError):
        prepare(folder).write(folder / "out")
