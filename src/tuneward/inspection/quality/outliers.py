"""Outliers: values that lie far from the others, of lengths and of what the base finds likely.

Place on the road: ``data.quality`` hands in one number per row. Knows numbers only.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_NORMAL: Final = 1.4826  # median absolute deviation of a normal distribution → its standard deviation
_FEWEST: Final = 20


def robust_scores(values: Sequence[float]) -> NDArray[np.float64]:
    """Distance of each value from the median in standard deviations, estimated by the median absolute deviation.

    That estimate stands unmoved until half of the values are outliers (Rousseeuw and Croux 1993). Each side of the
    median has its own, because lengths are skewed. Fewer than twenty values, or a side whose values are all equal,
    give zeros.

    Args:
        values: one per row; NaN where a row has none, which gives 0.
    """
    array = np.asarray(values, dtype=np.float64)
    known = array[~np.isnan(array)]
    scores = np.zeros(len(array))
    if len(known) < _FEWEST:
        return scores
    middle = float(np.median(known))
    for side in (array < middle, array > middle):
        if side.any():
            spread = _NORMAL * float(np.median(np.abs(array[side] - middle)))
            scores[side] = (array[side] - middle) / spread if spread > 0 else 0.0
    return scores


def outliers(values: Sequence[float], *, most: float) -> NDArray[np.bool_]:
    """Which values lie further than ``most`` standard deviations from the median, on either side."""
    return np.asarray(np.abs(robust_scores(values)) > most)
