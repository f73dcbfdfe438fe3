"""Diversity: how much a set of texts repeats itself as a whole.

Place on the road: figures on the data card. Distinct-n (Li et al. 2016) falls with the size of the set, so it is taken
of a sample of fixed size; the Vendi score (Friedman and Dieng 2023) is the effective number of texts that differ: the
exponential of the entropy of the eigenvalues of their similarity matrix divided by their number.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.minhash import estimate, signatures
from tuneward.inspection.near_lookup import batches
from tuneward.inspection.shingles import Shingling, cut

SAMPLE: Final = 500


@dataclass(frozen=True)
class Diversity:
    """Figures of a sample.

    Attributes:
        n: texts in the sample.
        distinct_1: different words among all words, 0 to 1.
        distinct_2: different pairs of words among all pairs.
        distinct_3: different runs of three words among all runs.
        vendi: effective number of different texts, 1 to ``n``, by similarity of words (Jaccard, estimated).
    """

    n: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    vendi: float


class Sample:
    """Up to ``size`` of the texts that are added, those of the least digests: any order gives the same sample."""

    def __init__(self, *, size: int = SAMPLE) -> None:
        self._size, self._count = size, 0
        self._kept: list[tuple[int, int, str]] = []  # a heap of the negated, so that the greatest is on top

    def add(self, text: str) -> None:
        """Take one more text."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        item = (-int.from_bytes(digest, "big"), -self._count, text)
        self._count += 1
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, item)
        elif item > self._kept[0]:
            heapq.heapreplace(self._kept, item)

    @property
    def texts(self) -> list[str]:
        """The sample, by digest."""
        return [text for _, _, text in sorted(self._kept, reverse=True)]

    def diversity(self) -> Diversity | None:
        """Figures of the sample of these texts, which are in normal form; None without any text."""
        chosen = self.texts
        if not chosen:
            return None
        pieces = batches(chosen)
        signed = np.concatenate([signatures(cut(part, Shingling("words", 1))) for part in pieces])
        similar = np.stack([estimate(signed[[row]], signed) for row in range(len(signed))])
        one, two, three = (_distinct(pieces, width) for width in (1, 2, 3))
        return Diversity(len(chosen), one, two, three, vendi_score(similar))


def sample(texts: Iterable[str], *, size: int = SAMPLE) -> list[str]:
    """The sample of texts that are at hand."""
    chosen = Sample(size=size)
    for text in texts:
        chosen.add(text)
    return chosen.texts


def diversity(texts: Iterable[str]) -> Diversity | None:
    """Figures of the sample of texts that are at hand, in normal form; None without any text."""
    chosen = Sample()
    for text in texts:
        chosen.add(text)
    return chosen.diversity()


def vendi_score(similarity: NDArray[np.float64]) -> float:
    """Effective number of items of a similarity matrix with ones on its diagonal; 1 where all are alike.

    An estimated matrix may have eigenvalues slightly below zero, which count as zero.
    """
    values = np.linalg.eigvalsh(np.clip(similarity, 0.0, 1.0)) / len(similarity)
    values = values[values > 1e-12]
    values = values / values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def embedding_spread(vectors: NDArray[np.float32]) -> float:
    """Mean cosine distance of unit vectors from one another, 0 to 2: one minus the squared length of their mean."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = vectors.astype(np.float64).sum(axis=0)
    return float(1.0 - (total @ total - count) / (count * (count - 1)))


def _distinct(pieces: Sequence[list[str]], width: int) -> float:
    hashes = np.concatenate([cut(part, Shingling("words", width)).hashes for part in pieces])
    return len(np.unique(hashes)) / len(hashes)
