"""Overlaps: what is dropped lies inside what stays."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.growth import LINEAR, slowdown
from tuneward.domain.finding import Finding
from tuneward.inspection.overlaps import beside, clusters, resolve

findings = st.lists(
    st.builds(
        lambda start, size, confidence, kind, view: Finding(kind, start, start + size, confidence, kind, view),
        st.integers(0, 40),
        st.integers(1, 15),
        st.sampled_from([0.5, 0.7, 0.9]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["raw", "normalised"]),
    ),
    max_size=12,
)


@given(findings, st.randoms())
def test_nothing_becomes_uncovered_and_order_does_not_matter(items, random):
    kept = resolve(items)
    assert {i for f in items for i in range(f.start, f.end)} == {i for f in kept for i in range(f.start, f.end)}
    shuffled = list(items)
    random.shuffle(shuffled)
    assert resolve(shuffled) == kept


@given(findings)
def test_what_is_kept_lies_in_nothing_of_the_same_confidence(items):
    kept = resolve(items)
    for i, inner in enumerate(kept):
        for j, outer in enumerate(kept):
            inside = outer.start <= inner.start and inner.end <= outer.end and outer.confidence >= inner.confidence
            assert i == j or not inside


@given(findings)
def test_clusters_are_disjoint_and_complete(items):
    groups = list(clusters(items))
    assert sorted(map(str, items)) == sorted(str(f) for group in groups for f in group)
    for a, b in pairwise(groups):
        assert max(f.end for f in a) <= min(f.start for f in b)


def test_what_several_views_show_is_told_once_as_seen_in_the_raw_text():
    seen = [Finding("email", 3, 9, 0.9, "email.address", view) for view in ("url", "raw", "normalised")]
    assert resolve(seen) == [seen[1]]


def nested(count):
    """Each surer than what holds it."""
    return [Finding("a", i, 4 * count - i, i / count, "a") for i in range(count)]


def strewn(count):
    drawn = random.Random(4)
    return [Finding("b", i, i + drawn.randint(1, 300), drawn.random(), "b") for i in range(count)]


@pytest.mark.parametrize("made", [nested, strewn, lambda count: nested(count)[::-1] + strewn(count)])
def test_many_findings_take_no_quadratic_time(made):
    def together(items):
        kept = resolve(items)
        assert sum(len(group) for group in clusters(kept)) == len(kept)

    assert slowdown(together, made(5_000), made(20_000)) < LINEAR


def test_beside_keeps_what_meets_nothing_of_another_kind():
    known = [Finding("address", 0, 20, 0.8, "a"), Finding("person", 30, 40, 0.8, "a")]
    said = [Finding("person", 5, 9, 0.6, "b"), Finding("person", 28, 42, 0.6, "b"), Finding("place", 50, 55, 0.6, "b")]
    assert beside(said, known) == said[1:]
