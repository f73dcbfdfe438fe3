"""The sketch: same length in lower case, whole words in any script, digits counted."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.inspection.sketch import lower, sketch, vocabulary


@given(st.text())
def test_lower_keeps_every_offset(text):
    assert len(lower(text)) == len(text)


def test_words_are_found_whole_and_in_place():
    words = vocabulary(("straßenschild", "quux"))
    text = "„Straßenschild“ quuxes QUUX_1 quux"
    seen = sketch(text)
    assert seen.holds(words)
    assert sorted((start, text[start:end]) for start, end, _ in seen.places(words)) == [
        (1, "Straßenschild"),
        (23, "QUUX"),
        (30, "quux"),
    ]
    assert seen.digits == 1
    assert not sketch("quuxes").holds(words)
