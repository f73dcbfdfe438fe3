"""Paired comparison of base and tuned on the same items: values, 95% intervals, differences, p-values.

Place on the road: after scoring, before the report. Knows arrays of counts; knows neither tasks nor gates.

Each figure is a sum of numerators over a sum of denominators (see :mod:`tuneward.evaluation.tasks`). Rates get closed
formulas. Everything else gets the percentile bootstrap over items (Efron 1979) and the randomisation test that swaps
base and tuned within an item (Noreen 1989, section 2.3). One set of resamples, drawn from the seed, serves all figures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuneward.evaluation.intervals import Interval, mcnemar, paired_difference, square_and_add, wilson
from tuneward.evaluation.tasks import Kind

Floats = npt.NDArray[np.float64]

#: Resamples of the bootstrap and draws of the randomisation test.
RESAMPLES = 10_000

#: Entries of one block of resamples (about 32 MB of float64), so that memory does not grow with the test set.
BLOCK_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Figure:
    """One figure of base and tuned over the same items; shares are 0 to 1, differences are tuned minus base.

    Attributes:
        kind: ``rate``, ``mean`` or ``ratio``.
        n: items behind it.
        base: the base model's value, or None where it is undefined (a precision of nothing said).
        base_interval: its 95% interval, or None.
        tuned: the tuned model's value, or None.
        interval: its 95% interval, or None.
        interval_method: how both intervals were made.
        difference: tuned minus base, or None when one of them is undefined.
        difference_interval: its 95% interval, or None.
        difference_method: how that interval was made, or None.
        p_value: two-sided, under "tuning changes nothing", or None.
        test: the test's name, or None.
        wrong_to_right: rates only: items that only the tuned model got right.
        right_to_wrong: rates only: items that only the base model got right.
        support: ratios only: items that say anything here, of base and of tuned.
    """

    kind: Kind
    n: int
    base: float | None
    base_interval: Interval | None
    tuned: float | None
    interval: Interval | None
    interval_method: str
    difference: float | None
    difference_interval: Interval | None
    difference_method: str | None
    p_value: float | None
    test: str | None
    wrong_to_right: int | None = None
    right_to_wrong: int | None = None
    support: tuple[int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The figure as it stands in ``report.json``: six decimals, p-values with six significant digits."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "n": self.n,
            "base": _rounded(self.base),
            "base_interval": _rounded_interval(self.base_interval),
            "tuned": _rounded(self.tuned),
            "interval": _rounded_interval(self.interval),
            "interval_method": self.interval_method,
            "difference": _rounded(self.difference),
            "difference_interval": _rounded_interval(self.difference_interval),
            "difference_method": self.difference_method,
            "p_value": None if self.p_value is None else float(f"{self.p_value:.6g}"),
            "test": self.test,
        }
        if self.kind == "rate":
            shown["flips"] = {"wrong_to_right": self.wrong_to_right, "right_to_wrong": self.right_to_wrong}
        if self.support is not None:
            shown["support"] = {"base": self.support[0], "tuned": self.support[1]}
        return shown


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6) + 0.0


def _rounded_interval(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(float(end), 6) + 0.0 for end in interval]


def compare(
    kinds: Mapping[str, Kind], base: Mapping[str, Floats], tuned: Mapping[str, Floats], *, seed: int
) -> dict[str, Figure]:
    """Compare base and tuned in every figure.

    Args:
        kinds: figure → its kind, in reporting order.
        base: figure → array (items, 2) of numerators and denominators.
        tuned: likewise, the same items in the same order.
        seed: of all resampling; the same seed gives the same figures.

    Returns:
        The figures in the order of ``kinds``.
    """
    sampled = [name for name, kind in kinds.items() if kind != "rate"]
    results = dict(zip(sampled, _resampled(kinds, sampled, base, tuned, seed=seed), strict=True)) if sampled else {}
    return {name: _rate(base[name], tuned[name]) if kind == "rate" else results[name] for name, kind in kinds.items()}


def _rate(base: Floats, tuned: Floats) -> Figure:
    first, second = tuned[:, 0] > 0.5, base[:, 0] > 0.5
    n = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_tuned, only_base = int((first & ~second).sum()), int((~first & second).sum())
    return Figure(
        kind="rate",
        n=n,
        base=(both + only_base) / n,
        base_interval=wilson(both + only_base, n),
        tuned=(both + only_tuned) / n,
        interval=wilson(both + only_tuned, n),
        interval_method="Wilson score",
        difference=(only_tuned - only_base) / n,
        difference_interval=paired_difference(both=both, only_first=only_tuned, only_second=only_base, neither=neither),
        difference_method="Newcombe paired score (method 10)",
        p_value=mcnemar(only_first=only_tuned, only_second=only_base),
        test="McNemar exact",
        wrong_to_right=only_tuned,
        right_to_wrong=only_base,
    )


def _resampled(
    kinds: Mapping[str, Kind], names: list[str], base: Mapping[str, Floats], tuned: Mapping[str, Floats], *, seed: int
) -> Iterator[Figure]:
    before = np.concatenate([base[name] for name in names], axis=1)  # (items, 2 × figures)
    after = np.concatenate([tuned[name] for name in names], axis=1)
    generator = np.random.default_rng(seed)
    values = _ratios(before.sum(axis=0)), _ratios(after.sum(axis=0))  # each (figures,)
    samples = _bootstrap(before, after, generator)  # each (resamples, figures)
    p_values = _randomisation(before, after, generator)  # (figures,)
    for column, name in enumerate(names):
        yield _figure(
            kinds[name],
            base=base[name],
            tuned=tuned[name],
            values=(float(values[0][column]), float(values[1][column])),
            samples=(samples[0][:, column], samples[1][:, column]),
            p_value=float(p_values[column]),
        )


def _ratios(sums: Floats) -> Floats:
    """(…, 2 × figures) of numerators beside denominators → (…, figures); nan where nothing is divided by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios: Floats = sums[..., 0::2] / sums[..., 1::2]
    return ratios


def _blocks(n: int) -> Iterator[int]:
    size = max(1, min(RESAMPLES, BLOCK_ENTRIES // n))
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)


def _bootstrap(before: Floats, after: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    n = len(before)
    first, second = [], []
    for rows in _blocks(n):
        drawn = generator.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        first.append(_ratios(weights @ before))
        second.append(_ratios(weights @ after))
    return np.concatenate(first), np.concatenate(second)


def _randomisation(before: Floats, after: Floats, generator: np.random.Generator) -> Floats:
    n = len(before)
    change = after - before
    total_before, total_after = before.sum(axis=0), after.sum(axis=0)
    measured = np.abs(_ratios(total_after) - _ratios(total_before))
    extreme = np.zeros(len(measured))
    for rows in _blocks(n):
        moved = generator.integers(2, size=(rows, n)).astype(np.float64) @ change
        swapped = np.abs(_ratios(total_after - moved) - _ratios(total_before + moved))
        # An undefined draw is counted as extreme: it can only make the p-value larger.
        extreme += (~(swapped < measured - 1e-12)).sum(axis=0)
    p_values: Floats = (1 + extreme) / (1 + RESAMPLES)
    return p_values


def _figure(
    kind: Kind,
    *,
    base: Floats,
    tuned: Floats,
    values: tuple[float, float],
    samples: tuple[Floats, Floats],
    p_value: float,
) -> Figure:
    before = _interval(values[0], samples[0], base)
    after = _interval(values[1], samples[1], tuned)
    method = f"bootstrap over items, {RESAMPLES} resamples"
    alike = " (Wilson score where every item is alike)"
    difference: float | None = None
    difference_interval: Interval | None = None
    difference_method: str | None = None
    if before is not None and after is not None:
        difference = values[1] - values[0]
        difference_interval, difference_method = _percentiles(samples[1] - samples[0]), f"paired {method}"
        if difference_interval is None or difference_interval[0] == difference_interval[1]:
            difference_interval = square_and_add(values[1], values[0], one=after, two=before, correlation=0.0)
            difference_method = "square-and-add of both intervals"
    return Figure(
        kind=kind,
        n=len(base),
        base=None if before is None else values[0],
        base_interval=before,
        tuned=None if after is None else values[1],
        interval=after,
        interval_method=method + alike,
        difference=difference,
        difference_interval=difference_interval,
        difference_method=difference_method,
        p_value=None if difference is None else p_value,
        test=None if difference is None else f"paired randomisation, {RESAMPLES} draws",
        support=(_saying(base), _saying(tuned)) if kind == "ratio" else None,
    )


def _saying(parts: Floats) -> int:
    return int((parts[:, 1] > 0).sum())


def _interval(value: float, samples: Floats, parts: Floats) -> Interval | None:
    """Bootstrap interval; Wilson's where all resamples agree, for no spread seen is not no uncertainty."""
    if np.isnan(value):
        return None
    interval = _percentiles(samples)
    if interval is None or interval[0] == interval[1]:
        n = _saying(parts)
        return wilson(min(max(value, 0.0), 1.0) * n, n)
    return interval


def _percentiles(samples: Floats) -> Interval | None:
    seen = samples[~np.isnan(samples)]
    if not len(seen):
        return None
    low, high = np.percentile(seen, [2.5, 97.5])
    return float(low), float(high)
