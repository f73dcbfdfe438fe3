"""Cutting: joined passages are the text, each fits, and the coarsest border that is enough is taken."""

import time
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneward.data.cut import UncuttableError, cut, paragraphs

texts = st.text(st.sampled_from("ab. !\n\t\u00a0ü。"), max_size=80)


def words(text):
    return len(text.split()) + 1


@given(texts, st.integers(2, 12), st.sampled_from([len, words]), st.integers(0, 1))
def test_joined_passages_are_the_text_and_each_fits(text, limit, size, overhead):
    try:
        passages, broken = cut(text, size=size, limit=limit, overhead=overhead)
    except UncuttableError:
        assert max((len(word) for word in text.split()), default=limit) > 1 or size is len
        return
    assert "".join(passages) == text
    assert all(size(passage) <= limit for passage in passages)
    assert all(passage.strip() for passage in passages) or not text.strip()
    assert 0 <= broken <= len(paragraphs(text))


@given(texts)
def test_joined_paragraphs_are_the_text(text):
    assert "".join(paragraphs(text)) == text


@pytest.mark.parametrize(
    ("text", "limit", "wanted", "broken"),
    [
        ("one\n\ntwo\n\nthree", 100, ["one\n\ntwo\n\nthree"], 0),
        ("one\n\ntwo\n\nthree", 10, ["one\n\ntwo\n\n", "three"], 0),
        ("a b\nc d\n\ne", 6, ["a b\n", "c d\n\n", "e"], 1),
        ("Aa. Bb. Cc.\n\ne", 8, ["Aa. Bb. ", "Cc.\n\n", "e"], 1),
        ("aa bb cc\n\ne", 6, ["aa bb ", "cc\n\n", "e"], 1),
        ("\n\n one\n \n\ntwo", 10, ["\n\n one\n \n\n", "two"], 0),
    ],
)
def test_the_coarsest_border_that_is_enough(text, limit, wanted, broken):
    assert cut(text, size=len, limit=limit) == (wanted, broken)


def test_what_is_larger_joined_than_in_parts_is_parted_again():
    passages, _ = cut("a\n\nb\n\nc", size=lambda t: 1 if "\n\n" not in t.strip() else 9, limit=5)
    assert passages == ["a\n\n", "b\n\n", "c"]


def test_a_word_that_does_not_fit_is_told():
    with pytest.raises(UncuttableError):
        cut("short " + "x" * 50, size=len, limit=20)


@pytest.mark.parametrize(
    "text", ["\n" * 200_000 + "x", "x" + " " * 200_000 + "x", "a \n" * 70_000, "." * 200_000, "\n \t" * 70_000]
)
def test_the_worst_texts_are_cut_or_refused_in_time(text):
    start = time.monotonic()
    with nullcontext() if "a" in text else pytest.raises(UncuttableError):
        assert "".join(cut(text, size=len, limit=1000)[0]) == text
    assert time.monotonic() - start < 5
