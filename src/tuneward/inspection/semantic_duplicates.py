"""Semantic duplicates: texts that mean the same, by the cosine of their embeddings.

Place on the road: ``data.quality`` hands in vectors that a local model made. Exact search in blocks: every pair is
compared, so that time grows with the square of the number of texts. Knows vectors only.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.clusters import Clusters, Union

_BLOCK: Final = 1024


def semantic_clusters(vectors: NDArray[np.float32], *, cosine: float) -> Clusters:
    """Clusters of vectors whose cosine is ``cosine`` or more, and of what such pairs join.

    Args:
        vectors: of length one, shape ``(texts, width)``.
        cosine: above 0, at most 1.
    """
    count = len(vectors)
    union = Union(count)
    for begin in range(0, count, _BLOCK):
        block = vectors[begin : begin + _BLOCK]
        for other in range(begin, count, _BLOCK):
            similar = block @ vectors[other : other + _BLOCK].T
            ones, others = np.nonzero(similar >= cosine - 1e-6)
            ones, others = ones + begin, others + other
            union.join(ones[ones < others], others[ones < others])
    return Clusters(union.roots)
