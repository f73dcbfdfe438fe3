import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.rows import Example, write_rows
from tests.training.runs import rows_of
from tuneward.errors import DataError
from tuneward.training.batches import Row, Window, plan_steps, read_rows


class FixedChat:
    def __init__(self, ids, labels):
        self.made = Example(tuple(ids), tuple(labels))

    def example(self, messages, *, loss_on):
        return self.made


def fake_rows(sizes):
    import numpy as np

    return [
        Row(f"r{i}", np.arange(size, dtype=np.int32), np.arange(size, dtype=np.int32)) for i, size in enumerate(sizes)
    ]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    epochs=st.sampled_from([0.3, 1.0, 2.5]),
    batch=st.integers(1, 120),
    window=st.integers(1, 120),
    seed=st.integers(0, 3),
)
def test_no_row_is_cut_or_lost_and_rooms_are_kept(sizes, epochs, batch, window, seed):
    import math

    rows = fake_rows(sizes)
    steps = plan_steps(rows, epochs=epochs, batch_tokens=batch, window_tokens=window, seed=seed)
    order = [index for step in steps for part in step.windows for index in part]
    assert len(order) == math.ceil(len(sizes) * epochs - 1e-9)
    for start in range(0, len(order) - len(sizes) + 1, len(sizes)):
        assert sorted(order[start : start + len(sizes)]) == list(range(len(sizes)))
    for step in steps:
        assert step.tokens == sum(sizes[i] for part in step.windows for i in part)
        assert step.tokens <= batch or sum(len(part) for part in step.windows) == 1
        assert step.trained == sum(rows[i].trained for part in step.windows for i in part)
        for part in step.windows:
            assert sum(sizes[i] for i in part) <= window or len(part) == 1


def test_no_step_holds_rows_of_two_epochs():
    steps = plan_steps(fake_rows([5] * 7), epochs=2.5, batch_tokens=20, window_tokens=20, seed=0)
    taken = [[index for part in step.windows for index in part] for step in steps]
    assert [len(step) for step in taken] == [4, 3, 4, 3, 4]
    assert all(len(set(step)) == len(step) for step in taken)


def test_order_follows_the_seed_and_differs_between_epochs():
    rows = fake_rows([5] * 30)

    def order(seed):
        steps = plan_steps(rows, epochs=2, batch_tokens=20, window_tokens=20, seed=seed)
        return [index for step in steps for part in step.windows for index in part]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:30] != order(1)[30:]
    # a seed means this order for good: a change of it would change what "same seed" gives
    assert order(0)[:8] == [8, 24, 21, 10, 16, 29, 12, 4]


def test_a_window_learns_the_next_token_inside_each_document_only():
    import numpy as np

    one = Row("a", np.array([5, 6, 7], dtype=np.int32), np.array([-100, -100, 7], dtype=np.int32))
    two = Row("b", np.array([8, 9], dtype=np.int32), np.array([8, 9], dtype=np.int32))
    window = Window.pack([one, two])
    assert window.ids.tolist() == [[5, 6, 7, 8, 9]]
    assert window.places.tolist() == [1, 3]  # 6 → 7 and 8 → 9; never 7 → 8, though 8 carries a label
    assert window.targets.tolist() == [7, 9]
    assert window.layout.lengths == (3, 2)
    assert window.records == ("a", "b")


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
        read_rows(file, FixedChat(ids, labels), loss_on="answers", context_tokens=512, vocabulary=304)
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
    from tests.tiny import make_tiny_base
    from tuneward.digests import canonical_json
    from tuneward.domain.record import Message, Record, Source
    from tuneward.modeling.chat import Chat

    said = (Message("user", "one\u2028two"), Message("assistant", "yes\u2029no"))
    record = Record("rec_1", said, Source("a.jsonl", "0" * 64, 1), None, "train")
    path = tmp_path / "train.jsonl"
    path.write_bytes(canonical_json(record.to_json()) + b"\n")
    chat = Chat.load(make_tiny_base(tmp_path / "base"))
    (row,) = read_rows(path, chat, loss_on="answers", context_tokens=512, vocabulary=chat.vocabulary)
    assert row.ids.size == len(chat.example(said).ids)
