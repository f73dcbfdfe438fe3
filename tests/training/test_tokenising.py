import json

import numpy as np
import pytest

from tests.tiny import make_tiny_base
from tests.training.rows import Example, PlainChat, write_rows
from tests.training.runs import rows_of
from tuneward.digests import canonical_json
from tuneward.domain.record import Message, Record, Source
from tuneward.errors import DataError
from tuneward.modeling.chat import Chat
from tuneward.training import tokenising
from tuneward.training.tokenising import read_rows


class FixedChat(PlainChat):
    def __init__(self, ids, labels):
        self.made = Example(tuple(ids), tuple(labels))

    def example(self, messages, *, loss_on, tools=None):
        return self.made


def test_rows_come_as_prepared(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 5))
    assert [row.id for row in rows] == [f"rec_{n:04d}" for n in range(5)]
    assert all(0 < row.trained < row.ids.size for row in rows)


@pytest.mark.parametrize(
    ("ids", "labels", "code"),
    [
        ([1, 2, 3], [-100, -100, -100], "TW-TRAIN-003"),
        ([1, 2, 3], [1, -100, -100], "TW-TRAIN-003"),
        ([], [], "TW-TRAIN-003"),
        ([1, 400], [1, 400], "TW-TRAIN-005"),
        (range(600), range(600), "TW-TRAIN-005"),
        ([1] * 513, [1] * 513, "TW-TRAIN-004"),
    ],
)
def test_unusable_rows_are_named_by_id(tmp_path, ids, labels, code):
    file = write_rows(tmp_path / "train.jsonl", 2)
    with pytest.raises(DataError) as caught:
        read_rows(file, FixedChat(ids, labels), cache=tmp_path / "c", context_tokens=512, vocabulary=304)
    assert [(fault.code, fault.place) for fault in caught.value.faults] == [(code, "rec_0000"), (code, "rec_0001")]


def test_damaged_lines_are_all_named_and_never_quoted(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 3)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:40], json.dumps({"id": "secret"}), lines[2]]))
    with pytest.raises(DataError) as caught:
        rows_of(base, file)
    assert [fault.place for fault in caught.value.faults] == ["train.jsonl:2", "train.jsonl:3"]
    assert "secret" not in str(caught.value)


def test_many_faults_are_counted(base, tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text("x\n" * 50)
    with pytest.raises(DataError) as caught:
        rows_of(base, file)
    assert len(caught.value.faults) == 21
    assert "30 more" in caught.value.faults[-1].message


def test_no_rows_and_no_file_are_refused(base, tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    for name, code in (("empty.jsonl", "TW-TRAIN-002"), ("missing.jsonl", "TW-TRAIN-001")):
        with pytest.raises(DataError) as caught:
            rows_of(base, tmp_path / name)
        assert caught.value.faults[0].code == code


def test_a_line_separator_inside_a_text_does_not_cut_the_row(tmp_path):
    said = (Message("user", "one\u2028two"), Message("assistant", "yes\u2029no"))
    record = Record("rec_1", said, Source("a.jsonl", "0" * 64, 1), None, "train")
    path = tmp_path / "train.jsonl"
    path.write_bytes(canonical_json(record.to_json()) + b"\n")
    chat = Chat.load(make_tiny_base(tmp_path / "base"))
    (row,) = read_rows(path, chat, cache=tmp_path / "c", context_tokens=512, vocabulary=chat.vocabulary)
    assert row.ids.size == len(chat.example(said).ids)


def test_rows_are_tokenised_once_and_mapped(base, tmp_path, monkeypatch):
    file = write_rows(tmp_path / "train.jsonl", 9)
    first = rows_of(base, file)
    monkeypatch.setattr(tokenising, "write_rows", None)  # would fail if called
    again = rows_of(base, file)
    assert first.digest == again.digest
    for one, two in zip(first, again, strict=True):
        assert one.id == two.id
        assert np.array_equal(one.ids, two.ids)
        assert np.array_equal(one.labels, two.labels)
    assert isinstance(again._ids, np.memmap)
    assert again.sizes.tolist() == [row.size for row in again]
    assert again.trained.tolist() == [row.trained for row in again]


def test_a_changed_file_another_template_or_a_damaged_cache_is_tokenised_again(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 9)
    first = rows_of(base, file)
    assert rows_of(base, file, loss_on="all").digest != first.digest
    for part in ("note.json", "index.npy"):
        (tmp_path / "tokens" / first.digest / part).write_text("{")
        assert [row.id for row in rows_of(base, file)] == [f"rec_{n:04d}" for n in range(9)]
    write_rows(file, 9, seed=1)
    assert rows_of(base, file).digest != first.digest


@pytest.mark.parametrize("part", ["ids.i32", "learned.u8", "names.txt", "index.npy"])
def test_a_cache_with_other_bytes_of_the_same_length_is_not_trained_on(base, tmp_path, part):
    file = write_rows(tmp_path / "train.jsonl", 9)
    first = [(row.id, row.ids.tolist(), row.labels.tolist(), row.group) for row in rows_of(base, file)]
    (harmed,) = (tmp_path / "tokens").glob(f"*/{part}")
    data = harmed.read_bytes()
    harmed.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert [(row.id, row.ids.tolist(), row.labels.tolist(), row.group) for row in rows_of(base, file)] == first


def test_nothing_is_left_of_rows_that_are_refused(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 3)
    file.write_text(file.read_text() + "no row\n")
    with pytest.raises(DataError):
        rows_of(base, file)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_a_pair_shares_its_prompt_and_each_answer_ends_its_turn(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 4, kind="pair"), form="pair")
    for row in rows:
        assert (row.labels == -100).all()
        assert len(row.branches) == 2
        assert all(branch[-1] == 2 for branch in row.branches)
        assert row.trained == sum(branch.size for branch in row.branches)
        assert row.size == row.ids.size + row.trained


def test_the_foreign_answer_of_a_judged_row_is_the_next_rows_and_the_lasts_is_the_firsts(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 3, kind="judged"), form="judged")
    for number, row in enumerate(rows):
        assert np.array_equal(row.branches[1], rows[(number + 1) % 3].branches[0])
    assert [row.desirable for row in rows] == [True, False, True]


def test_a_record_without_a_second_answer_is_no_pair(base, tmp_path):
    with pytest.raises(DataError) as caught:
        rows_of(base, write_rows(tmp_path / "train.jsonl", 2), form="pair")
    assert [(fault.code, fault.place) for fault in caught.value.faults] == [
        ("TW-TRAIN-001", "rec_0000"),
        ("TW-TRAIN-001", "rec_0001"),
    ]


def judged(path, turns):
    """A file of judged answers, each a (prompt, answer)."""
    lines = []
    for number, (prompt, answer) in enumerate(turns):
        said = (Message("user", prompt), Message("assistant", answer))
        source = Source("a.jsonl", "0" * 64, number + 1)
        lines.append(canonical_json(Record(f"r{number}", said, source, None, "train", desirable=True).to_json()))
    path.write_bytes(b"\n".join(lines))
    return path


def test_a_foreign_answer_belongs_to_another_prompt(base, tmp_path):
    rows = rows_of(base, judged(tmp_path / "t.jsonl", [("a", "one"), ("a", "two"), ("b", "three")]), form="judged")
    by_name = {row.id: row for row in rows}
    assert all(np.array_equal(by_name[name].branches[1], by_name["r2"].branches[0]) for name in ("r0", "r1"))
    assert np.array_equal(by_name["r2"].branches[1], by_name["r0"].branches[0])


def test_a_foreign_answer_fits_the_context_or_the_row_is_refused(base, tmp_path):
    long, short = " ".join(["x"] * 150), " ".join(["y"] * 150)
    rows = rows_of(base, judged(tmp_path / "t.jsonl", [(long, "a"), ("b", short), ("c", "d")]), form="judged")
    assert all(row.ids.size + row.branches[1].size <= 512 for row in rows)
    with pytest.raises(DataError) as caught:
        rows_of(base, judged(tmp_path / "u.jsonl", [("a", "one"), ("a", "two")]), form="judged")
    assert [(fault.code, fault.place) for fault in caught.value.faults] == [
        ("TW-TRAIN-004", "r0"),
        ("TW-TRAIN-004", "r1"),
    ]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 2)
    left = tmp_path / "cache" / ".writing-killed"
    left.mkdir(parents=True)
    (left / "ids").write_bytes(b"content of rows")
    read_rows(file, FixedChat([1, 2], [-100, 2]), cache=tmp_path / "cache", context_tokens=512, vocabulary=304)
    assert not left.exists()
