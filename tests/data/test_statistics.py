"""Statistics are what counting by hand gives."""

from data_cases import prepare, row, write_rows

from tuneward.data.statistics import take_statistics
from tuneward.data.stored import stored_card, stored_findings, stored_rows


def test_rows_are_counted_by_file_kind_and_length(tmp_path):
    write_rows(tmp_path / "a.jsonl", [row("one", "12", who="x"), row("two", "123", who="x"), row("six", "1", who="")])
    write_rows(tmp_path / "b.jsonl", [row("seven", "12345678", who="y")])
    found = take_statistics(prepare(tmp_path, train=["a.jsonl", "b.jsonl"], subject="who").train)
    assert (found.rows, found.characters, found.answer_characters) == (4, 3 * 3 + 5 + 14, 14)
    assert [(file.name, file.rows, file.characters) for file in found.files] == [("a.jsonl", 3, 15), ("b.jsonl", 1, 13)]
    assert (found.forms, found.turns) == ({"conversation": 4}, {"assistant": 4, "user": 4})
    assert (found.subjects, found.without_subject) == (2, 1)
    assert (found.lengths.shortest, found.lengths.longest, found.lengths.mean) == (4, 13, 7.0)
    assert found.lengths.percentiles == {"5": 4, "25": 4, "50": 5, "75": 6, "95": 13, "99": 13}


def test_both_answers_of_a_pair_count_and_nothing_is_no_fault(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"prompt": "p", "chosen": "12", "rejected": "345"}])
    found = take_statistics(prepare(tmp_path, form="pair").train)
    assert (found.characters, found.answer_characters, found.forms) == (6, 5, {"pair": 1})
    none = take_statistics([])
    assert (none.rows, none.lengths, none.files) == (0, None, ())


def test_what_was_written_is_read_row_by_row(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("mail eve@example.org"), row("a\u2028b", "c\x85d")])
    prepared = prepare(tmp_path)
    prepared.write(tmp_path / "made")
    assert tuple(stored_rows(tmp_path / "made", "train")) == tuple(prepared.train)
    assert list(stored_rows(tmp_path / "made", "test")) == []
    assert [item["kind"] for item in stored_findings(tmp_path / "made")] == ["email"]
    assert stored_card(tmp_path / "made")["fingerprint"] == prepared.fingerprint
