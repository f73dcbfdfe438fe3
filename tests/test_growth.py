"""The check of growth tells quadratic work from linear work."""

import re

from tests.growth import LINEAR, slowdown, slowdown_of_text


def test_a_pattern_that_looks_to_the_end_from_every_place_is_caught():
    assert slowdown_of_text(re.compile("a*b").search, "a", characters=8_000) > LINEAR
    assert slowdown_of_text(re.compile("(?<![a])a*+b").search, "a", characters=8_000) < LINEAR


def test_comparing_everything_with_everything_is_caught():
    def pairs(items):
        return sum(1 for one in items for other in items if one < other)

    assert slowdown(pairs, range(300), range(1200)) > LINEAR
    assert slowdown(sum, range(300_000), range(1_200_000)) < LINEAR


def test_generators_are_run():
    assert slowdown_of_text(lambda text: (text.count(c) for c in text), "ab", characters=4_000) > LINEAR
