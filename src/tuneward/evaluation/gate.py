"""The gate: thresholds against measured figures, one reason per threshold.

Place on the road: after the report, before a version may be registered; and again in ``verify``, which judges the
stored report anew. Pure: the same report and thresholds give the same verdict. Knows no model, no answers, no database.

By default the measured value must meet the threshold; with ``bound: interval`` the worse end of its 95% interval must,
which asks for a test set large enough to be sure. What was not measured never meets a threshold.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneward.evaluation.config import FIELD_PREFIX, GateRule


@dataclass(frozen=True)
class Verdict:
    """The gate's answer.

    Attributes:
        passed: whether every threshold is met; with no threshold, nothing was asked and the gate lets pass.
        reasons: one line per threshold: what was asked, what was measured, met or not.
    """

    passed: bool
    reasons: tuple[str, ...]


def judge(report: Mapping[str, Any], gate: Mapping[str, Mapping[str, Any] | GateRule]) -> Verdict:
    """Judge a report.

    Args:
        report: ``report.json`` as plain JSON values.
        gate: figure → rule, as :class:`GateRule` or as plain JSON.

    Returns:
        The verdict, reasons in the gate's order.
    """
    if not gate:
        return Verdict(passed=True, reasons=("no threshold is set: nothing was asked",))
    lines = [line for name, rule in gate.items() for line in _lines(report, name, _rule(rule))]
    return Verdict(passed=all(met for met, _ in lines), reasons=tuple(text for _, text in lines))


def unmet(reasons: Sequence[str]) -> tuple[str, ...]:
    """The reasons for which a gate says no."""
    return tuple(reason for reason in reasons if reason.endswith(": not met"))


def _rule(rule: Mapping[str, Any] | GateRule) -> GateRule:
    return rule if isinstance(rule, GateRule) else GateRule.model_validate(dict(rule))


def _lines(report: Mapping[str, Any], name: str, rule: GateRule) -> Iterator[tuple[bool, str]]:
    figure = _figure(report, name)
    for kind in ("min", "max", "max_drop"):
        threshold = getattr(rule, kind)
        if threshold is None:
            continue
        wholly = " with the whole interval" if rule.bound == "interval" else ""
        words = {"min": "at least {}", "max": "at most {}", "max_drop": "a drop of at most {} from the base"}[kind]
        asked = f"{name}: asked {words.format(_number(threshold))}{wholly}"
        reason = _why_not_measured(report, name, figure, drop=kind == "max_drop")
        if reason or figure is None:
            yield False, f"{asked}, not measured ({reason}): not met"
            continue
        value, (low, high) = _measured(figure, drop=kind == "max_drop")
        worse = value if rule.bound == "point" else (low if kind == "min" else high)
        met = worse >= threshold if kind == "min" else worse <= threshold
        shown = f"{_number(value, threshold)} [{_number(low, threshold)}, {_number(high, threshold)}]"
        what = "a drop of " if kind == "max_drop" else ""
        yield met, f"{asked}, measured {what}{shown}, n = {figure['n']}: {'met' if met else 'not met'}"


def _figure(report: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A figure of the task by its name, or ``task.fields.FIELD.MEASURE`` of one field."""
    found: Mapping[str, Any] | None = report["figures"].get(name)
    if found is None and name.startswith(FIELD_PREFIX):
        field, _, measure = name.removeprefix(FIELD_PREFIX).rpartition(".")
        found = report["fields"].get(field, {}).get(measure)
    return found


def _why_not_measured(report: Mapping[str, Any], name: str, figure: Mapping[str, Any] | None, *, drop: bool) -> str:
    if figure is None:
        entries = report.get("not_measured", ())
        listed = {missing: entry["reason"] for entry in entries for missing in entry["figures"]}
        return str(listed.get(name) or "no suite that measures it was asked for")
    if figure["tuned"] is None:
        return "undefined: the tuned model's answers hold nothing to divide by"
    if drop and figure["difference"] is None:
        return "undefined: the base model's answers hold nothing to compare with"
    return ""


def _measured(figure: Mapping[str, Any], *, drop: bool) -> tuple[float, tuple[float, float]]:
    if drop:
        low, high = figure["difference_interval"]
        return 0.0 - figure["difference"], (0.0 - high, 0.0 - low)
    low, high = figure["interval"]
    return figure["tuned"], (low, high)


def _number(value: float, beside: float | None = None) -> str:
    """Two decimals, or as many as it takes to be told from ``beside`` (six at most, as reports hold)."""
    for decimals in range(2, 6):
        text = f"{value:.{decimals}f}"
        exact = float(text) == value if beside is None else (float(text) == beside) == (value == beside)
        if exact:
            return text
    return f"{value:.6f}"
