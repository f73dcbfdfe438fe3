"""An evaluation's figures as papers show them: strings with n and interval, and what was not measured.

Place on the road: shared by AIBOM and model card. Reads ``report.json`` as plain JSON; knows not how it was made.
"""

import json
from collections.abc import Mapping
from typing import Any


def number(value: object) -> str:
    """A value as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _names(report: Mapping[str, Any]) -> list[str]:
    """Figures of the whole task first, then those of single fields, each by name."""
    return sorted(report["figures"], key=lambda name: (name.startswith("task.fields."), name))


def performance(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """CycloneDX ``performanceMetrics``: base, tuned and difference of every figure, single fields by their F1."""
    metrics = []
    for name in _names(report):
        figure = report["figures"][name]
        if name.startswith("task.fields.") and not name.endswith(".f1"):
            continue
        for slice_, value, interval in (
            ("tuned", figure["tuned"], figure["interval"]),
            ("base", figure["base"], figure["base_interval"]),
            ("difference, tuned minus base", figure["difference"], figure["difference_interval"]),
        ):
            if value is not None:
                metrics.append(
                    {
                        "type": name,
                        "value": number(value),
                        "slice": f"{slice_}; {figure['n']} held-out items",
                        "confidenceInterval": {"lowerBound": number(interval[0]), "upperBound": number(interval[1])},
                    }
                )
    return metrics


def limits(report: Mapping[str, Any]) -> list[str]:
    """What a reader must not conclude: the size of the test, and what was not measured."""
    measured = (
        f"Measured on {report['items']} held-out items of one dataset; intervals are 95% and speak of items like these."
    )
    return [measured, *(f"Not measured: {entry['name']} ({entry['reason']})." for entry in report["not_measured"])]


def table(report: Mapping[str, Any], *, fields: bool) -> list[dict[str, str]]:
    """Rows of the before/after table: of the whole task, or (``fields``) the F1 of each field."""
    rows = []
    for name in _names(report):
        single = name.startswith("task.fields.")
        if single != fields or (single and not name.endswith(".f1")):
            continue
        figure = report["figures"][name]
        shown = name.removeprefix("task.fields.").removesuffix(".f1") if single else name.removeprefix("task.")
        rows.append(
            {
                "name": shown,
                "n": str(figure["n"]),
                "base": _with_interval(figure["base"], figure["base_interval"]),
                "tuned": _with_interval(figure["tuned"], figure["interval"]),
                "difference": _with_interval(figure["difference"], figure["difference_interval"], sign="+"),
                "p_value": "undefined" if figure["p_value"] is None else f"{figure['p_value']:.2g}",
                "test": figure["test"] or "none",
            }
        )
    return rows


def _with_interval(value: float | None, interval: list[float] | None, *, sign: str = "") -> str:
    if value is None or interval is None:
        return "undefined"
    low, high = interval
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
