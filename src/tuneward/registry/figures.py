"""An evaluation's figures as papers show them: strings with n and interval, and what was not measured.

Place on the road: shared by AIBOM and model card. Reads ``report.json`` as plain JSON; knows not how it was made.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def number(value: object) -> str:
    """A value as text: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _figures(report: Mapping[str, Any], *, fields: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Figures of the whole task by name, or (``fields``) the F1 of each field by the field's name."""
    found = {name: field["f1"] for name, field in report["fields"].items()} if fields else report["figures"]
    return sorted(found.items())


def performance(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """CycloneDX ``performanceMetrics``: base, tuned and difference of every figure, single fields by their F1."""
    named = _figures(report, fields=False)
    named += [(f"task.fields.{field}.f1", figure) for field, figure in _figures(report, fields=True)]
    return [metric for name, figure in named for metric in _metrics(name, figure)]


def _metrics(name: str, figure: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model, value, interval in (
        ("tuned", figure["tuned"], figure["interval"]),
        ("base", figure["base"], figure["base_interval"]),
        ("difference, tuned minus base", figure["difference"], figure["difference_interval"]),
    ):
        if value is not None:
            yield {
                "type": name,
                "value": number(value),
                "slice": f"{model}; {figure['n']} held-out items",
                "confidenceInterval": {"lowerBound": number(interval[0]), "upperBound": number(interval[1])},
            }


def limits(report: Mapping[str, Any]) -> list[str]:
    """What a reader must not conclude: the size of the test, and what was not measured."""
    measured = (
        f"Measured on {report['items']} held-out items of one dataset; intervals are 95% and speak of items like these."
    )
    kept = {"nf4": "linear layers", "nf4-all": "linear layers, embedding and output head"}
    what = kept.get(report.get("quantisation", "none"))
    told = f"Base and tuned were both measured, and are served, with the base's {what} kept in four bits (NF4)."
    four_bits = [] if what is None else [told]
    return [
        measured,
        *four_bits,
        *(f"Not measured: {entry['name']} ({entry['reason']})." for entry in report["not_measured"]),
    ]


def table(report: Mapping[str, Any], *, fields: bool) -> list[dict[str, str]]:
    """Rows of the before/after table: of the whole task, or (``fields``) the F1 of each field."""
    return [
        {
            "name": name.removeprefix("task."),
            "n": str(figure["n"]),
            "base": _with_interval(figure["base"], figure["base_interval"]),
            "tuned": _with_interval(figure["tuned"], figure["interval"]),
            "difference": _with_interval(figure["difference"], figure["difference_interval"], sign="+"),
            "p_value": "undefined" if figure["p_value"] is None else f"{figure['p_value']:.2g}",
            "test": figure["test"] or "none",
        }
        for name, figure in _figures(report, fields=fields)
    ]


def _with_interval(value: float | None, interval: list[float] | None, *, sign: str = "") -> str:
    if value is None or interval is None:
        return "undefined"
    low, high = interval
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
