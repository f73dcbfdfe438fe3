"""Duplicates: the normal form of a text, and near-duplicates by MinHash.

Place on the road: ``data`` removes what is equal in normal form and reports what is nearly so. Works on texts and
their positions; knows neither rows nor splits.
"""

import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SHINGLE_WORDS: Final = 3
_BANDS: Final = 20
_ROWS: Final = 4
_PRIME: Final = (1 << 31) - 1
_PUNCTUATION_TO_SPACES: Final = bytes(
    byte if byte > 127 or chr(byte).isalnum() or chr(byte) == "_" else 32 for byte in range(256)
)


def normal_form(text: str) -> str:
    """Fold what a reader would call the same: NFKC, case folding, runs of whitespace to one space, ends trimmed.

    Law: ``normal_form(normal_form(x)) == normal_form(x)``.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).casefold().split())


class NearDuplicates:
    """Finds texts whose sets of three-word shingles overlap by ``threshold`` (Jaccard) or more.

    Candidates come from MinHash signatures in 20 bands of 4 rows (Broder 1997; a pair of similarity s is seen with
    probability 1 - (1 - s^4)^20, 0.9999 at 0.8), and each is then checked by its true Jaccard similarity. A candidate
    is compared with the first of each band's bucket only, so that the work stays linear; a pair can therefore be
    missed where a bucket mixes several groups.
    """

    def __init__(self, *, threshold: float = 0.8, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        size = _BANDS * _ROWS
        top = np.iinfo(np.uint64).max
        self._factors = generator.integers(0, top, size=(size, 1), dtype=np.uint64) | np.uint64(1)
        self._offsets = generator.integers(0, top, size=(size, 1), dtype=np.uint64)
        self._buckets: dict[bytes, int] = {}
        self._shingles: dict[int, NDArray[np.uint64]] = {}
        self._threshold = threshold

    def first_like(self, position: int, text: str) -> int | None:
        """Add the text and return the position of an earlier one that it nearly equals, or None.

        Args:
            position: the caller's number for the text; numbers must not repeat.
            text: the text in normal form.
        """
        shingles = _shingles(text)
        signature = self._signature(shingles)
        found = None
        candidates = set()
        keys = [bytes([band]) + signature[band * _ROWS : (band + 1) * _ROWS].tobytes() for band in range(_BANDS)]
        for key in keys:
            earlier = self._buckets.setdefault(key, position)
            if earlier != position:
                candidates.add(earlier)
        for candidate in sorted(candidates):
            if _jaccard(shingles, self._shingles[candidate]) >= self._threshold:
                found = candidate
                break
        if any(self._buckets[key] == position for key in keys):
            self._shingles[position] = shingles
        return found

    def _signature(self, shingles: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Upper half of the lowest value of each multiply-add hash modulo 2^64, shape ``(bands * rows,)``."""
        lowest = np.full(_BANDS * _ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
        for start in range(0, len(shingles), 4096):
            hashed = self._factors * shingles[None, start : start + 4096] + self._offsets  # (bands * rows, shingles)
            np.minimum(lowest, hashed.min(axis=1), out=lowest)
        return (lowest >> np.uint64(32)).astype(np.uint32)


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.8) -> Iterator[tuple[int, int]]:
    """Yield (position, position of an earlier text that it nearly equals) for texts in normal form."""
    index = NearDuplicates(threshold=threshold)
    for position, text in enumerate(texts):
        earlier = index.first_like(position, text)
        if earlier is not None:
            yield position, earlier


def _shingles(text: str) -> NDArray[np.uint64]:
    """Sorted, distinct 31-bit hashes of all runs of three words (of all the words, where there are fewer)."""
    raw = text.encode("utf-8", "surrogatepass")
    codes = np.fromiter(map(zlib.crc32, raw.translate(_PUNCTUATION_TO_SPACES).split()), dtype=np.uint64)
    if len(codes) == 0:
        return np.array([zlib.crc32(raw) % _PRIME], dtype=np.uint64)
    width = min(_SHINGLE_WORDS, len(codes))
    count = len(codes) - width + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for offset in range(width):
        mixed = (mixed * np.uint64(1_000_003) + codes[offset : offset + count]) % np.uint64(_PRIME)
    return np.unique(mixed)


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)
