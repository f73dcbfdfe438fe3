"""Names and patterns: inside the project, once, on one side."""

import pytest
from data_cases import prepare, refused, row, write_rows

from tuneward.errors import DataError


def test_patterns_are_sorted_and_no_file_is_read_twice(tmp_path):
    for name in "ba":
        write_rows(tmp_path / "data" / f"{name}.jsonl", [row(name)])
    prepared = prepare(tmp_path, train=["data/*.jsonl", "data/a.jsonl"])
    assert [str(r.source) for r in prepared.train] == ["data/a.jsonl:1", "data/b.jsonl:1"]


def test_an_absolute_name_may_lie_anywhere(tmp_path):
    write_rows(tmp_path / "outside" / "x.jsonl", [row()])
    (tmp_path / "project").mkdir()
    assert len(prepare(tmp_path / "project", train=[str(tmp_path / "outside" / "*.jsonl")]).train) == 1


def test_a_relative_name_may_not_leave_the_project(tmp_path):
    write_rows(tmp_path / "x.jsonl", [row()])
    write_rows(tmp_path / "project" / "train.jsonl", [row()])
    (tmp_path / "project" / "link.jsonl").symlink_to(tmp_path / "x.jsonl")
    assert refused(tmp_path / "project", train=["../x.jsonl", "link.jsonl", "train.jsonl"]) == [
        ("TW-DATA-003", "data.train[0]"),
        ("TW-DATA-003", "data.train[1]"),
    ]


def test_missing_files_are_all_told_with_a_suggestion(tmp_path):
    write_rows(tmp_path / "data" / "claims.jsonl", [row()])
    with pytest.raises(DataError, match=r"did you mean `claims.jsonl`") as caught:
        prepare(tmp_path, train=["data/claim.jsonl"], test=["nowhere/*.jsonl"])
    assert [(f.code, f.place) for f in caught.value.faults] == [
        ("TW-DATA-001", "data.train[0]"),
        ("TW-DATA-001", "data.test[0]"),
    ]


def test_a_file_on_both_sides_and_a_folder(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row()])
    (tmp_path / "folder").mkdir()
    faults = refused(tmp_path, train=["train.jsonl", "folder"], test=["./train.jsonl"])
    assert sorted(code for code, _ in faults) == ["TW-DATA-005", "TW-DATA-026"]


def test_names_with_signs_of_patterns_are_taken_literally_first(tmp_path):
    write_rows(tmp_path / "a[1].jsonl", [row()])
    assert len(prepare(tmp_path, train=["a[1].jsonl"]).train) == 1
