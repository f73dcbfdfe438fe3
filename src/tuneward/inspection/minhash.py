"""MinHash: a short signature of each text's shingles, and the keys under which similar texts meet.

Place on the road: between ``inspection.shingles`` and ``inspection.near_duplicates``. Two texts whose sets of shingles
have the Jaccard similarity s share any one value of their signatures with probability s (Broder 1997), so that
``bands`` keys of ``rows`` values each meet at least once with probability ``1 - (1 - s^rows)^bands`` (Leskovec,
Rajaraman, Ullman, Mining of Massive Datasets, section 3.4).

One hash is taken per shingle instead of one per value (one-permutation hashing, Li, Owen, Zhang 2012): its upper bits
choose the value, its lower bits compete for the minimum. Values that no shingle chose borrow from another drawn at
random (optimal densification, Shrivastava 2017), which keeps the probability above for short texts too. Eight bits of
each value are kept (b-bit minwise hashing, Li and König 2010): unlike values agree once in 256, and the keys of four
values are the signature itself, read as 32-bit numbers.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.shingles import Batch

Signatures = NDArray[np.uint8]

VALUES: Final = 128
ROWS: Final = 4
BANDS: Final = VALUES // ROWS
_VALUE_BITS: Final = np.uint64(VALUES.bit_length() - 1)
_EMPTY: Final = np.uint32(0xFFFFFFFF)
_ATTEMPTS: Final = 256


def signatures(batch: Batch) -> Signatures:
    """The signature of each text, shape ``(texts, VALUES)``; equal sets of shingles have equal signatures."""
    chosen = (batch.hashes >> (np.uint64(64) - _VALUE_BITS)).astype(np.int64)
    low = np.full(batch.count * VALUES, _EMPTY, dtype=np.uint32)
    hashed = np.minimum((batch.hashes >> np.uint64(8)).astype(np.uint32), _EMPTY - np.uint32(1))
    np.minimum.at(low, batch.rows * VALUES + chosen, hashed)
    filled = _densified(low.reshape(batch.count, VALUES))
    return ((filled * np.uint32(0x9E3779B1)) >> np.uint32(24)).astype(np.uint8)


def band_keys(signed: Signatures, band: int) -> NDArray[np.uint32]:
    """The key of each text in one band, 0 to ``BANDS - 1``."""
    return np.ascontiguousarray(signed[:, band * ROWS : (band + 1) * ROWS]).view(np.uint32)[:, 0]


def estimate(ones: Signatures, others: Signatures) -> NDArray[np.float64]:
    """Estimated Jaccard similarity of each pair of signatures; its standard error is 0.044 at most."""
    agree = np.mean(ones == others, axis=1)
    return np.asarray((agree - 1 / 256) / (1 - 1 / 256))


def _densified(signature: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Fill empty values from others of the same text, drawn by a sequence that is the same for every text."""
    size = signature.shape[1]
    donors = signature.copy()
    rows, places = np.nonzero(signature == _EMPTY)
    generator = np.random.default_rng(0x5EED)
    for _ in range(_ATTEMPTS):
        if not len(rows):
            break
        donor = np.asarray(generator.integers(0, size, size=size))[places]
        taken = donors[rows, donor]
        signature[rows, places] = taken
        left = taken == _EMPTY
        rows, places = rows[left], places[left]
    if len(rows):  # a text of very few shingles: its lowest value serves
        signature[rows, places] = donors.min(axis=1)[rows]
    return signature
