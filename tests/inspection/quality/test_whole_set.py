"""Figures of a whole set of texts, against values worked out by hand."""

import math

import numpy as np
import pytest

from tuneward.inspection.quality.diversity import diversity, embedding_spread, sample, vendi_score
from tuneward.inspection.quality.outliers import outliers, robust_scores


def test_outliers_are_far_on_either_side_and_half_of_the_values_may_be_odd():
    values = [10.0 + 0.1 * (i % 7) for i in range(40)] + [100.0, -50.0, math.nan]
    assert np.flatnonzero(outliers(values, most=6.0)).tolist() == [40, 41]
    many = [1.0 + 0.01 * (i % 9) for i in range(60)] + [50.0] * 25
    assert outliers(many, most=6.0)[60:].all() or robust_scores(many)[60:].min() > 0


def test_few_or_equal_values_have_no_outliers():
    assert not outliers([1.0] * 5 + [1000.0], most=1.0).any()
    assert not outliers([3.0] * 100, most=1.0).any()
    assert robust_scores([]).tolist() == []


def test_the_vendi_score_is_the_effective_number_of_different_items():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)
    two_groups = np.kron(np.eye(2), np.ones((4, 4)))
    assert vendi_score(two_groups) == pytest.approx(2)


def test_diversity_of_repeated_and_of_different_texts():
    same = diversity(["the very same words"] * 20)
    assert (same.n, same.distinct_1) == (20, 4 / 80)
    assert same.vendi == pytest.approx(1, abs=0.01)
    other = diversity([f"a{i} b{i} c{i}" for i in range(20)])
    assert (other.distinct_1, other.distinct_2, other.distinct_3) == (1, 1, 1)
    assert other.vendi == pytest.approx(20, rel=0.03)
    assert diversity([]) is None


def test_the_sample_does_not_depend_on_the_order():
    texts = [f"text {i}" for i in range(100)]
    assert sample(texts, size=10) == sample(texts[::-1], size=10)
    assert len(sample(texts, size=1000)) == 100


def test_the_spread_is_the_mean_cosine_distance_of_pairs():
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    assert embedding_spread(vectors) == pytest.approx((1 + 2 + 1) / 3)
    assert embedding_spread(vectors[:1]) == 0.0
