"""Rows on disk: they read as the list of the same records, wherever one looks; pairs and names; no file is left."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.data.named_rows import NAMED, NamedRows
from tuneward.data.row_pairs import RowPairs
from tuneward.data.rows import Joined, Rows, canonical_row
from tuneward.data.spool import Spool
from tuneward.domain.law import Terms
from tuneward.domain.record import Message, Record, Source

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
terms = st.none() | st.builds(Terms, licence=st.none() | st.sampled_from(["MIT", "CC-BY-4.0"]), consent=st.none())


@st.composite
def records(draw):
    number = draw(st.integers(0, 10**6))
    form = draw(st.sampled_from(["conversation", "pair", "judged", "document"]))
    if form == "document":
        messages = (Message("document", draw(texts)),)
    else:
        calls = draw(st.none() | st.just('[{"id":"1"}]'))
        messages = (Message("user", draw(texts)), Message("assistant", draw(texts), calls))
    return Record(
        id=f"rec_{number}",
        messages=messages,
        source=Source(draw(texts), "0" * 64, number),
        subject=draw(st.none() | texts),
        split=draw(st.sampled_from(["train", "test", "reserve"])),
        rejected=Message("assistant", draw(texts)) if form == "pair" else None,
        desirable=draw(st.booleans()) if form == "judged" else None,
        margin=draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)) if form == "pair" else None,
        tools=draw(st.none() | st.just("[]")),
        terms=draw(terms),
    )


def stored(given):
    rows = Rows()
    for record in given:
        rows.add(record)
    return rows


def same(left, right):
    return list(left) == list(right) and [record.terms for record in left] == [record.terms for record in right]


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=12), st.data())
def test_rows_read_as_a_list(given, data):
    rows = stored(given)
    assert len(rows) == len(given)
    assert same(rows, given)
    assert same([rows[number] for number in range(len(rows))], given)
    assert list(rows.lines) == [canonical_row(record) for record in given]
    assert list(rows.terms) == [record.terms for record in given]
    begin, end = data.draw(st.integers(-15, 15)), data.draw(st.integers(-15, 15))
    assert rows[begin:end] == given[begin:end]
    places = data.draw(st.lists(st.integers(0, len(given) - 1), max_size=20)) if given else []
    chosen = rows.at(places)
    assert same(chosen, [given[place] for place in places])
    assert same(Joined(rows, chosen), [*given, *chosen])
    assert [Joined(rows, chosen)[n] for n in range(len(given) + len(places))] == [*given, *chosen]
    assert {record.split for record in rows.at(places, split="test")} <= {"test"}


def test_reading_and_writing_in_turn(tmp_path):
    rows, given = Rows(tmp_path), []
    for number in range(2000):
        record = Record(f"r{number}", (Message("user", "x" * (number % 700)),), Source("f", "", number), None, "train")
        rows.add(record)
        given.append(record)
        assert rows[number // 2] == given[number // 2]
    assert list(rows) == given
    assert list(tmp_path.iterdir()) == [], "the file has no name, so that nothing is left of it"


def test_a_line_that_is_not_there():
    rows = stored([])
    with pytest.raises(IndexError):
        rows[0]
    with pytest.raises(IndexError):
        Spool()[-1]


def test_a_disk_that_lost_what_it_took_is_told():
    spool = Spool()
    spool.add(b"x" * 1000)
    assert spool[0] == b"x" * 1000
    os.ftruncate(spool._file.fileno(), 10)
    with pytest.raises(OSError, match="less than was written"):
        spool[0]


def test_subjects_are_numbers_and_nobody_is_none():
    given = [
        Record(str(n), (Message("document", "t"),), Source("f", "", n), name, "train")
        for n, name in enumerate(["a", "b", None, "a"])
    ]
    one, two, none, again = stored(given).subjects.tolist()
    assert one == again != two
    assert none == 0
    assert np.array_equal(stored(given).at([1, 2]).subjects, [two, 0])


def test_pairs_are_read_when_they_are_looked_at():
    given = [Record(str(n), (Message("document", "t"),), Source("f", "", n), None, "train") for n in range(30)]
    pairs = RowPairs(stored(given), given)
    for number in range(1, 30):
        pairs.add(number, number - 1)
    assert len(pairs) == 29
    assert pairs[0] == (given[1], given[0])
    assert pairs[:2] == [(given[1], given[0]), (given[2], given[1])]


def test_the_first_are_named_and_all_are_counted():
    rows = NamedRows()
    for number in range(NAMED + 5):
        rows.add(Record("r", (Message("document", "t"),), Source("f", "", number), None, "train"))
    assert len(rows) == NAMED + 5
    assert rows.first == [f"f:{number}" for number in range(NAMED)]
