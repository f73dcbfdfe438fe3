"""Near lookup: which of a given set of texts does another text nearly repeat?

Place on the road: ``data.overlap`` asks it whether a training row stands in the test set. Compares as
``inspection.near_duplicates`` does, but each question by itself: what is near to a near text is not near.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.minhash import BANDS, band_keys, estimate, signatures
from tuneward.inspection.near_duplicates import DOUBT, Likeness, alike_in_chunks, digest_of, packed
from tuneward.inspection.shingles import BATCH_CHARACTERS, cut

_UNDER_ONE_KEY: Final = 16


class NearLookup:
    """Texts that are asked for, as sorted tables of keys; their number is bounded, that of questions is not.

    Args:
        texts: in normal form; kept.
        like: when two texts are near-duplicates.
    """

    def __init__(self, texts: Sequence[str], like: Likeness | None = None) -> None:
        self._like = like or Likeness()
        self._texts = list(texts)
        self._signed = np.zeros((0, 1), dtype=np.uint8)
        self._tables: list[tuple[NDArray[np.uint32], NDArray[np.int64]]] = []
        if not self._texts:
            return
        self._signed = np.concatenate([signatures(cut(part, self._like.shingling)) for part in batches(self._texts)])
        digests = np.fromiter(map(digest_of, self._texts), np.uint64, len(self._texts))
        for band in range(BANDS):
            keys = band_keys(self._signed, band)
            order = np.lexsort((digests * np.uint64(0x9E3779B97F4A7C15 + 2 * band), keys))
            self._tables.append((keys[order], order))

    def match(self, texts: Sequence[str]) -> list[int | None]:
        """For each text in normal form the first of the given ones that it nearly repeats, or None."""
        found: list[int | None] = []
        for part in batches(texts):
            found += self._match(part)
        return found

    def _match(self, texts: list[str]) -> list[int | None]:
        result: list[int | None] = [None] * len(texts)
        if not self._texts:
            return result
        signed = signatures(cut(texts, self._like.shingling))
        pairs = np.unique(np.concatenate([self._candidates(signed, band) for band in range(BANDS)]))
        asked = (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64) - len(self._texts)
        given = (pairs >> np.uint64(32)).astype(np.int64)
        likely = estimate(self._signed[given], signed[asked]) >= self._like.least_jaccard - DOUBT
        pairs, asked, given = pairs[likely], asked[likely], given[likely]

        def text_of(position: int) -> str:
            own = position - len(self._texts)
            return self._texts[position] if own < 0 else texts[own]

        near = alike_in_chunks(pairs, text_of, self._like)
        for position, hit in zip(asked[near][::-1].tolist(), given[near][::-1].tolist(), strict=True):
            result[position] = hit  # pairs ascend by the given text, so that the first is written last
        return result

    def _candidates(self, signed: NDArray[np.uint8], band: int) -> NDArray[np.uint64]:
        """Packed pairs (given, number of given + asked) under one key, at most sixteen for each text."""
        keys, order = self._tables[band]
        wanted = band_keys(signed, band)
        low = np.searchsorted(keys, wanted)
        counts = np.minimum(np.searchsorted(keys, wanted, side="right") - low, _UNDER_ONE_KEY)
        asked = np.repeat(np.arange(len(wanted)), counts)
        at = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts) + low[asked]
        return packed(order[at], asked + len(self._texts))


def batches(texts: Sequence[str]) -> list[list[str]]:
    """The texts in pieces of about :data:`shingles.BATCH_CHARACTERS` characters."""
    pieces: list[list[str]] = []
    characters = BATCH_CHARACTERS
    for text in texts:
        if characters >= BATCH_CHARACTERS:
            pieces.append([])
            characters = 0
        pieces[-1].append(text)
        characters += len(text) + 1
    return pieces
