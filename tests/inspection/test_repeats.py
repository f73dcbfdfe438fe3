"""Repeats: a value found once is found wherever it stands again, and nowhere inside a longer word."""

import pytest

from tuneward.domain.finding import Finding
from tuneward.inspection.repeats import with_repeats


def places(texts, value):
    start = texts[0].index(value)
    found = [[Finding("password", start, start + len(value), 0.9, "password.labelled")], *([] for _ in texts[1:])]
    return [
        [in_text[f.start : f.end] for f in fs] for in_text, fs in zip(texts, with_repeats(texts, found), strict=True)
    ]


@pytest.mark.parametrize(
    ("texts", "counts"),
    [
        (["a word", "another"], [1, 0]),
        (["word, then word", "word"], [2, 1]),
        (["word", "sword words wordy word's"], [1, 1]),
        (["word", r"\nword"], [1, 1]),
        (["word", ""], [1, 0]),
    ],
)
def test_every_place_of_the_value_and_no_other(texts, counts):
    found = places(texts, "word")
    assert [len(in_text) for in_text in found] == counts
    assert {value for in_text in found for value in in_text} == {"word"}


def test_a_repeat_says_of_what_rule_it_is():
    found = with_repeats(["x9", "x9"], [[Finding("password", 0, 2, 0.9, "p")], []])
    assert [[f.rule for f in in_text] for in_text in found] == [["p"], ["p.repeated"]]
