"""Clusters, and the union that makes them, against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneward.inspection.clusters import Clusters, Union

edges = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20)


def plain(size, pairs):
    """Least position that can be reached from each."""
    first = list(range(size))
    for _ in range(size):
        for one, other in pairs:
            first[one] = first[other] = min(first[one], first[other])
    return first


@given(edges, st.randoms(use_true_random=False))
def test_a_union_is_what_can_be_reached_in_any_order_of_edges(pairs, generator):
    wanted = plain(15, pairs)
    shuffled = [pair[:: generator.choice((1, -1))] for pair in generator.sample(pairs, len(pairs))]
    half = generator.randrange(len(pairs) + 1)
    for parts in ([pairs], [shuffled[:half], shuffled[half:]]):
        union = Union(15)
        for part in parts:
            ones, others = np.array(part, dtype=np.int64).reshape(-1, 2).T
            union.join(ones, others)
        assert union.roots.tolist() == wanted


def test_first_or_best_stays():
    clusters = Clusters(np.array([0, 1, 0, 1, 4, 0]))
    assert clusters.sizes.tolist() == [3, 2, 3, 2, 1, 3]
    assert clusters.members() == [[0, 2, 5], [1, 3]]
    assert clusters.keep_first().tolist() == [0, 1, 0, 1, 4, 0]
    assert clusters.keep_best([0.1, 0.5, 0.9, 0.5, 0.0, 0.9]).tolist() == [2, 1, 2, 1, 4, 2]
    with pytest.raises(ValueError, match="2 scores for 6 texts"):
        clusters.keep_best([1, 2])


def test_nothing_has_no_clusters():
    assert Clusters(np.zeros(0, dtype=np.int64)).members() == []
