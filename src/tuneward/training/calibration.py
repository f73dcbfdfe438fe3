"""Calibration: whether a reward model is as sure as it is right, on pairs that it did not learn from.

Place on the road: after a reward training, on held-out pairs. A pure function of scores. Knows no model and no files.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Pairs of about the same confidence.

    Attributes:
        pairs: how many.
        confidence: mean probability that the model gave to its own choice.
        accuracy: share of pairs whose better answer it chose; a tie counts half.
    """

    pairs: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How a reward model judges pairs.

    Attributes:
        pairs: n, the number of pairs.
        accuracy: share of pairs whose better answer got the higher score; a tie counts half.
        margin: mean difference of the scores, better minus worse.
        error: expected calibration error, the mean distance of confidence and accuracy over the bins, each weighed by
            its pairs; 0 for a model that is right as often as it expects.
        bins: those that hold a pair, from unsure to sure.
    """

    pairs: int
    accuracy: float
    margin: float
    error: float
    bins: tuple[Bin, ...]

    def figures(self) -> dict[str, Any]:
        """As figures of a run."""
        return {
            "held_out_pairs": self.pairs,
            "held_out_accuracy": self.accuracy,
            "held_out_margin": self.margin,
            "calibration_error": self.error,
            "calibration_bins": [asdict(held) for held in self.bins],
        }


def calibrate(differences: Sequence[float], *, bins: int = BINS) -> Calibration | None:
    """Measure from score differences, better minus worse answer.

    The model chooses the answer with the higher score and gives ``sigmoid(|difference|)``, from 0.5 to 1, to its
    choice; bins of equal width cut that range. Expected calibration error: arXiv 1706.04599, section 2, equation 3.

    Returns:
        None where there is no pair.
    """
    if not differences:
        return None
    sorted_in: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for difference in differences:
        confidence = 1 / (1 + math.exp(-abs(difference)))
        right = 0.5 if difference == 0 else float(difference > 0)
        sorted_in[min(int((confidence - 0.5) * 2 * bins), bins - 1)].append((confidence, right))
    filled = tuple(
        Bin(len(held), sum(c for c, _ in held) / len(held), sum(r for _, r in held) / len(held))
        for held in sorted_in
        if held
    )
    n = len(differences)
    return Calibration(
        pairs=n,
        accuracy=sum(b.pairs * b.accuracy for b in filled) / n,
        margin=sum(differences) / n,
        error=sum(b.pairs * abs(b.confidence - b.accuracy) for b in filled) / n,
        bins=filled,
    )
