"""Faults: lists can be taken and joined; what is counted stays exact and what is kept stays bounded."""

import pytest

from tuneward.data.faults import LISTED_FAULTS, Faults
from tuneward.errors import DataError


def told(faults):
    with pytest.raises(DataError) as caught:
        faults.raise_if_any()
    return [(fault.code, fault.place, fault.message) for fault in caught.value.faults]


def many(count, start=0):
    faults = Faults()
    for number in range(start, start + count):
        faults.add("TW-DATA-018", "empty", place=f"f:{number}", cure="fill it")
    return faults


def test_what_is_taken_is_there_no_more():
    faults = many(3)
    taken = faults.take()
    assert (len(faults), len(taken)) == (0, 3)
    faults.raise_if_any()
    faults.add("TW-DATA-019", "empty", place="f:9", cure="fill it")
    assert [code for code, _, _ in told(faults)] == ["TW-DATA-019"]


@pytest.mark.parametrize("split", [0, 1, 49, 50, 51, 120])
def test_lists_that_are_joined_are_one_list(split):
    joined = Faults()
    joined.add_all(many(split))
    joined.add_all(many(120 - split, start=split))
    assert told(joined) == told(many(120))
    assert len(joined) == 120
    assert len(told(joined)) == LISTED_FAULTS + 1
