"""Semantic duplicates: exact in any blocks."""

import numpy as np

from tuneward.inspection import semantic_duplicates as module
from tuneward.inspection.semantic_duplicates import semantic_clusters


def test_clusters_are_those_of_all_pairs_whatever_the_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(40, 8)).astype(np.float32)
    vectors = np.concatenate([vectors, vectors[:10] + 0.01, generator.normal(size=(3, 8))]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = semantic_clusters(vectors, cosine=0.99).members()
    assert whole == [[i, 40 + i] for i in range(10)]
    for block in (1, 7, 32):
        monkeypatch.setattr(module, "_BLOCK", block)
        assert semantic_clusters(vectors, cosine=0.99).members() == whole


def test_equal_vectors_are_one_at_a_cosine_of_one():
    vectors = np.array([[0.6, 0.8], [0.6, 0.8], [1, 0]], dtype=np.float32)
    assert semantic_clusters(vectors, cosine=1.0).members() == [[0, 1]]
    assert semantic_clusters(vectors[:0], cosine=1.0).members() == []
