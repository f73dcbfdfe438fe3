"""What differs between two datasets, however their files were cut, named and shuffled."""

import random
from dataclasses import replace

from data_cases import prepare, row, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.data.difference import LISTED, differ
from tuneward.domain.record import Message, Record, Source


def record(text, line=1, split="train", path="a.jsonl"):
    messages = (Message("user", text), Message("assistant", "x"))
    return Record(f"rec_{path}{line}{split}{text}", messages, Source(path, "d", line), None, split)


def counts(difference):
    return (difference.same, difference.added, difference.removed, difference.changed, difference.moved)


def test_each_kind_of_difference():
    before = [record("a", 1), record("b", 2), record("c", 3), record("d", 4), record("t", 1, "test", "t.jsonl")]
    after = [record("a", 1), record("B", 2), record("e", 9), record("d", 4, "test", "t.jsonl"), before[-1]]
    found = differ(before, after)
    assert counts(found) == (2, 1, 1, 1, 1)
    assert {(row.kind, row.source) for row in found.rows} == {
        ("changed", "a.jsonl:2"),
        ("added", "a.jsonl:9"),
        ("moved", "t.jsonl:4"),
        ("removed", "a.jsonl:3"),
    }


def test_the_same_rows_in_another_file_and_order_are_the_same(tmp_path):
    rows = [row(f"q{n}") for n in range(50)]
    write_rows(tmp_path / "train.jsonl", rows)
    write_rows(tmp_path / "other.jsonl", random.Random(1).sample(rows, 50))
    found = differ(prepare(tmp_path).train, prepare(tmp_path, train=["other.jsonl"]).train)
    assert counts(found) == (50, 0, 0, 0, 0)


def test_the_same_words_of_another_subject_are_told():
    def of(subject, line):
        return replace(record("a", line), subject=subject)

    before = [of("sub_1", 1), of("sub_2", 2), of(None, 3), of("sub_4", 4)]
    after = [of("sub_2", 1), of("sub_1", 2), of("sub_3", 3), of(None, 4)]
    found = differ(before, after)
    assert counts(found) == (4, 0, 0, 0, 0)
    assert found.reassigned == 1, "equal rows are matched by their subject first: one has sub_3 where sub_4 was"
    assert [(row.kind, row.source) for row in found.rows] == [("reassigned", "a.jsonl:3")]
    assert differ(before, [of("sub_9", line) for line in range(1, 5)]).reassigned == 4
    assert differ(before, before).reassigned == 0


def test_a_subject_that_another_column_names_now_is_told(tmp_path):
    rows = [{**row(f"q{n}"), "customer": f"c{n}", "agent": f"a{n % 3}"} for n in range(6)]
    write_rows(tmp_path / "train.jsonl", rows)
    one, other = (prepare(tmp_path, subject=name).train for name in ("customer", "agent"))
    found = differ(one, other)
    assert (found.same, found.reassigned) == (6, 6)


def test_only_the_first_of_each_kind_are_listed():
    found = differ([], [record(str(n), n) for n in range(1_000)])
    assert (found.added, len(found.rows)) == (1_000, LISTED)


TEXTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.sampled_from(["train", "test"])), max_size=12)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_every_row_is_told_once(before, after):
    one, other = [record(*item) for item in before], [record(*item) for item in after]
    same, added, removed, changed, moved = counts(differ(one, other))
    assert same + removed + changed + moved == len(one)
    assert same + added + changed + moved == len(other)
    assert counts(differ(one, one)) == (len(one), 0, 0, 0, 0)
    assert counts(differ(other, one)) == (same, removed, added, changed, moved)
