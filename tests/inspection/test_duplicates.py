"""The normal form, and near-duplicates against Jaccard computed the long way."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneward.inspection.duplicates import near_duplicates, normal_form


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text):
    assert normal_form(normal_form(text)) == normal_form(text)


def test_width_case_and_whitespace_are_folded():
    assert normal_form("  Ｆoo\n\tBAR  Straße ") == normal_form("foo bar STRASSE")
    assert normal_form("foo bar") != normal_form("foobar")


def test_near_duplicates_are_found_and_others_are_not():
    words = [f"word{i}" for i in range(500)]
    generator = random.Random(3)
    texts = [" ".join(generator.choices(words, k=60)) for _ in range(300)]
    edited = {300 + i: i for i in range(40)}
    for i in edited.values():
        parts = texts[i].split()
        parts[generator.randrange(60)] = "changed"
        texts.append(" ".join(parts))
    assert dict(near_duplicates(texts)) == edited


@pytest.mark.parametrize(("changed", "near"), [(6, True), (12, False)])
def test_the_threshold_is_that_of_true_jaccard_similarity(changed, near):
    """Of 98 shingles 6 changed words touch 8: 90 / 106 = 0.85; 12 touch 14: 84 / 112 = 0.75."""
    words = [f"w{i}" for i in range(100)]
    other = words[:40] + [f"v{i}" for i in range(changed)] + words[40 + changed :]
    assert list(near_duplicates([" ".join(words), " ".join(other)])) == ([(1, 0)] if near else [])


def test_short_and_empty_texts_are_compared_whole():
    assert list(near_duplicates(["", "yes", "no", "yes", "??", "!!"])) == [(3, 1)]
