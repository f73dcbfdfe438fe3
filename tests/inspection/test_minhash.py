"""Signatures: their estimate is unbiased, for long texts and for short ones."""

import random

import numpy as np
import pytest

from tuneward.inspection.minhash import BANDS, ROWS, band_keys, estimate, signatures
from tuneward.inspection.shingles import Shingling, cut

WORDS = Shingling("words", 1)


@pytest.mark.parametrize("words", [10, 100, 1000])
@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.9])
def test_the_estimate_is_the_similarity_on_average(words, similarity):
    generator = random.Random(words)
    shared = round(2 * words * similarity / (1 + similarity))
    true = shared / (2 * words - shared)
    ones, others = [], []
    for trial in range(150):
        names = [f"w{trial}x{generator.random()}"[:12].replace(".", "") for _ in range(2 * words - shared)]
        ones.append(" ".join(names[:words]))
        others.append(" ".join(names[words - shared :]))
    estimates = estimate(signatures(cut(ones, WORDS)), signatures(cut(others, WORDS)))
    assert estimates.mean() == pytest.approx(true, abs=0.05)
    assert estimates.std() < (0.25 if words == 10 else 0.08)


def test_equal_sets_have_equal_signatures_and_keys():
    one, other = (signatures(cut([text], WORDS)) for text in ("b a c a", "a b c"))
    assert np.array_equal(one, other)
    assert all(np.array_equal(band_keys(one, band), band_keys(other, band)) for band in range(BANDS))


def test_a_key_is_its_rows_of_the_signature():
    signed = signatures(cut(["a b c d"], WORDS))
    changed = signed.copy()
    changed[0, 2 * ROWS] ^= 1
    differ = [band for band in range(BANDS) if band_keys(signed, band) != band_keys(changed, band)]
    assert differ == [2]
