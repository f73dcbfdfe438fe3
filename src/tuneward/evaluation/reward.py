"""The report on a reward model: how often it tells the better of two held-out answers, and how surely.

Place on the road: the middle of ``evaluate`` for the method ``reward``. The training process scored the held-out pairs
and left counts by confidence in the run's figures; this file turns them into figures with intervals, in the form of any
other ``report.json``. A base has no score, so there is no before. Knows no model and no pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuneward.digests import canonical_json
from tuneward.errors import EvaluationError, Fault
from tuneward.evaluation.config import Suite
from tuneward.evaluation.intervals import Interval, wilson
from tuneward.evaluation.measure import FORMAT, ITEMS_FILE, REPORT_FILE, not_measured
from tuneward.evaluation.paired import RESAMPLES, Figure
from tuneward.evaluation.tasks import Kind, Task


@dataclass(frozen=True)
class RewardReport:
    """What was measured of a reward model.

    Attributes:
        task_digest: digest of the task.
        pairs: held-out pairs.
        seed: of the interval of the calibration error.
        figures: figure → value and interval.
        not_measured: suites that were not measured, and why.
    """

    task_digest: str
    pairs: int
    seed: int
    figures: Mapping[str, Figure]
    not_measured: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """``report.json``; see :class:`~tuneward.evaluation.measure.Report`."""
        return {
            "format": FORMAT,
            "task": {"kind": "reward", "digest": self.task_digest},
            "items": self.pairs,
            "seed": self.seed,
            "confidence": 0.95,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "fields": {},
            "outcomes": {},
            "failures": {"base": {}, "tuned": {}},
            "not_measured": [dict(entry) for entry in self.not_measured],
            "side_by_side": {"chosen": "none: a model that scores gives no answers", "items": []},
            "notes": [
                "A base has no score, so there is nothing to compare with; a coin is right half the time.",
                "Measured by the training process on the held-out pairs, with the weights that were saved.",
            ],
        }

    def write(self, folder: Path) -> None:
        """Write ``report.json`` (canonical) and an empty ``items.jsonl`` into an existing folder."""
        (folder / REPORT_FILE).write_bytes(canonical_json(self.to_json()) + b"\n")
        (folder / ITEMS_FILE).write_bytes(b"")


def report_reward(
    task: Task, figures: Mapping[str, Any], *, seed: int = 0, suites: Sequence[Suite] = ()
) -> RewardReport:
    """Report on a run of the method ``reward``.

    Args:
        task: of kind ``reward``.
        figures: the run's: ``held_out_pairs``, ``held_out_accuracy``, ``calibration_error``, ``calibration_bins``.
        seed: of the resampling behind the calibration error's interval.
        suites: further suites asked for.

    Raises:
        EvaluationError: no pair was held out.
    """
    pairs = int(figures.get("held_out_pairs", 0))
    if not pairs:
        told, cure = "no pair was held out", "name a file of pairs that training never sees, and run `tuneward train`"
        raise EvaluationError(Fault("TW-EVAL-005", told, "data.test", cure))
    accuracy, error = float(figures["held_out_accuracy"]), float(figures["calibration_error"])
    return RewardReport(
        task_digest=task.digest,
        pairs=pairs,
        seed=seed,
        figures={
            "reward.accuracy": _figure("rate", pairs, accuracy, wilson(accuracy * pairs, pairs), "Wilson score"),
            "reward.calibration_error": _figure(
                "mean",
                pairs,
                error,
                _error_interval(figures["calibration_bins"], error, seed=seed),
                "bootstrap of the hits of each bin of confidence, percentile, widened to hold the value",
            ),
        },
        not_measured=not_measured(suites),
    )


def _figure(kind: Kind, n: int, value: float, interval: Interval, method: str) -> Figure:
    nothing: dict[str, None] = dict.fromkeys(("base", "base_interval", "difference", "difference_interval"))
    return Figure(
        kind=kind,
        n=n,
        tuned=value,
        interval=interval,
        interval_method=method,
        difference_method=None,
        p_value=None,
        test=None,
        **nothing,
    )


def _error_interval(bins: Sequence[Mapping[str, Any]], error: float, *, seed: int) -> Interval:
    """Percentiles of the error when each bin's hits are drawn anew; drawing adds error, so the value may lie below."""
    counts = np.array([held["pairs"] for held in bins])
    sure, right = (np.array([held[name] for held in bins]) for name in ("confidence", "accuracy"))
    drawn = np.random.default_rng(seed).binomial(counts, np.clip(right, 0, 1), size=(RESAMPLES, len(bins))) / counts
    errors = (np.abs(drawn - sure) * counts).sum(axis=1) / counts.sum()
    low, high = np.percentile(errors, (2.5, 97.5))
    return min(float(low), error), max(float(high), error)
