"""Clusters: which texts belong together, and which of each cluster stays.

Place on the road: the result of ``inspection.near_duplicates`` and of ``inspection.semantic_duplicates``; read by
``data``. Knows positions and scores, no texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Clusters:
    """A partition of texts.

    Attributes:
        first: for each text the first position of its cluster; a text that is alone is its own.
    """

    first: Positions

    @property
    def sizes(self) -> Positions:
        """For each text how many its cluster has, itself included."""
        return np.bincount(self.first, minlength=len(self.first))[self.first]

    def members(self) -> list[list[int]]:
        """Every cluster of two or more, in the order of their firsts, members ascending."""
        together = np.flatnonzero(self.sizes > 1)
        ordered = together[np.argsort(self.first[together], kind="stable")]
        bounds = np.flatnonzero(np.diff(self.first[ordered])) + 1
        return [part.tolist() for part in np.split(ordered, bounds)] if len(ordered) else []

    def keep_first(self) -> Positions:
        """For each text the position of the one that stays for it: its cluster's first."""
        return self.first

    def keep_best(self, scores: Sequence[float]) -> Positions:
        """For each text the position of the one that stays for it: the highest score, the first among equals.

        Args:
            scores: one for each text.

        Raises:
            ValueError: when there are not as many scores as texts.
        """
        if len(scores) != len(self.first):
            raise ValueError(f"{len(scores)} scores for {len(self.first)} texts")
        order = np.lexsort((np.arange(len(self.first)), -np.asarray(scores, dtype=np.float64), self.first))
        heads = order[np.searchsorted(self.first[order], self.first)]
        return heads.astype(np.int64)


class Union:
    """Union of positions by edges (Galler and Fischer 1964), for whole arrays of edges at once.

    Law: the partition depends on the set of edges alone, not on their order.
    """

    def __init__(self, size: int) -> None:
        self.roots: Positions = np.arange(size)

    def join(self, ones: Positions, others: Positions) -> None:
        """Put each of ``ones`` together with its fellow in ``others``; every root is its cluster's least position."""
        while len(ones):
            one, other = self.roots[ones], self.roots[others]
            apart = one != other
            ones, others, one, other = ones[apart], others[apart], one[apart], other[apart]
            np.minimum.at(self.roots, np.maximum(one, other), np.minimum(one, other))
            while True:
                above = self.roots[self.roots]
                if np.array_equal(above, self.roots):
                    break
                self.roots = above
