"""The one-page report: what happened, before and after, and the chain from an answer back to the base.

Place on the road: the last thing that ``quickstart`` and ``run`` do. Takes one mapping, :class:`Summary`, and gives one
HTML page that needs no network and no script. Knows nothing of how anything was measured: it repeats figures, it makes
none. Texts of items stand in it, so the page is as confidential as the test set.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tuneward.pages import page
from tuneward.workflows.summary import Interval

#: Figures in words a reader knows; others are shown by their name alone.
LABELS = {
    "task.valid": "valid against the schema",
    "task.valid_json": "one JSON object and nothing else",
    "task.json_found": "a JSON object somewhere in it",
    "task.exact_match": "every field right (free text aside)",
    "task.field_f1": "fields right (F1)",
    "task.token_f1": "words right (F1)",
    "task.rouge_l": "longest common wording (ROUGE-L)",
}

#: What leads from one link to the next older one.
RELATIONS = {
    "answer": "given by",
    "deployment": "serves",
    "version": "was let through by",
    "evaluation": "measured a run allowed by",
    "approval": "covers",
    "run": "learned from",
    "dataset": "was prepared for",
}

#: Reasons for dropped rows and things noticed, in words.
REASONS = {
    "finding": "held something that the policy drops",
    "duplicate": "exact duplicates",
    "contamination": "also stood in the test set",
    "too_long": "longer than the context",
    "contradictions": "same prompt, different answer",
    "near_duplicates": "nearly the same as another row",
    "near_test": "nearly the same as a test row",
    "test_duplicates": "repeated within the test set",
    "outside_schema": "answers outside the schema",
}

#: Longest answer shown when it is no JSON object, in characters.
_SHOWN = 700


def render_report(summary: Mapping[str, Any]) -> str:
    """The page.

    Args:
        summary: a :class:`Summary`, also as read back from JSON.

    Returns:
        A complete HTML document, self-contained, UTF-8.

    Raises:
        jinja2.UndefinedError: when the summary lacks a key.
    """
    template = page(
        Path(__file__).with_name("report.html"),
        duration=duration,
        percent=percent,
        points=points,
        interval=interval,
        p_value=p_value,
        number=number,
        at=at,
    )
    training = summary["training"]
    return template.render(
        s=summary,
        sentence=opening_sentence(summary),
        head=summary["figures"].get(summary["headline"]),
        labels=LABELS,
        relations=RELATIONS,
        reasons=REASONS,
        answers=[compare_answers(answer, summary["free_text"]) for answer in summary["answers"]],
        # The picture is our own training's; it is the only text on the page that is not escaped.
        curve=Markup(training["curve_svg"].partition("<svg")[1] + training["curve_svg"].partition("<svg")[2])  # noqa: S704
        if training
        else None,
        took="in this call" if any(step["state"] == "kept" for step in summary["steps"]) else "in all",
        slowest=max((step["seconds"] or 0.0 for step in summary["steps"]), default=0.0) or 1.0,
    )


def opening_sentence(summary: Mapping[str, Any]) -> str:
    """What happened, in a sentence or three, with the figure that matters."""
    training, figure, gate = summary["training"], summary["figures"].get(summary["headline"]), summary["gate"]
    if training is None:
        return "The road stopped before training; the steps below say where and why."
    learned = f"{summary['base']} learned from {number(training['rows'])} rows in {duration(training['seconds'])}."
    if figure is None:
        return f"{learned} It has not been evaluated."
    label = LABELS.get(summary["headline"], summary["headline"])
    held_out = f"On {number(figure['n'])} held\u2011out items, “{label}” "
    change = figure["difference"]
    if change is None or figure["base"] is None or figure["tuned"] is None:
        measured = f"{held_out}could not be compared."
    elif change == 0:
        measured = f"{held_out}stayed at {percent(figure['tuned'])}."
    else:
        way = "rose" if change > 0 else "fell"
        measured = f"{held_out}{way} from {percent(figure['base'])} to {percent(figure['tuned'])}."
    if gate is None:
        return f"{learned} {measured} No gate was asked."
    return f"{learned} {measured} The gate {'let it pass' if gate['passed'] else 'did not let it pass'}."


def compare_answers(answer: Mapping[str, Any], free_text: Sequence[str]) -> dict[str, Any]:
    """An item field by field where its reference is a JSON object, else as texts.

    Each cell is ``{"text", "mark"}`` with mark ``right``, ``wrong``, ``missing``, ``extra``, ``none`` (rightly
    not there) or ``free`` (free words that differ, which the exact match leaves out).
    """
    wanted = _object(answer["reference"])
    shown: dict[str, Any] = {"prompt": answer["prompt"], "outcome": answer["outcome"], "rows": None}
    given = {name: _object(answer[name]) for name in ("base", "tuned")}
    shown["texts"] = {
        name: {
            "text": _clip(answer[name]),
            "cut": answer.get("cut", {}).get(name),
            "right": answer[name].strip() == answer["reference"].strip(),
        }
        for name in ("reference", "base", "tuned")
        if wanted is None or (name != "reference" and given[name] is None)
    }
    if wanted is not None:
        fields = [*wanted, *(key for got in given.values() if got for key in got if key not in wanted)]
        shown["rows"] = [
            {
                "field": field,
                "wanted": _value(wanted, field),
                **{name: _cell(got, wanted, field, free=field in free_text) for name, got in given.items()},
            }
            for field in dict.fromkeys(fields)
        ]
    return shown


def _cell(got: Mapping[str, Any] | None, wanted: Mapping[str, Any], field: str, *, free: bool) -> dict[str, str]:
    if got is None or (field not in got and field in wanted):
        return {"text": "", "mark": "missing"}
    if field not in wanted:
        return {"text": _value(got, field), "mark": "extra" if field in got else "none"}
    same = json.dumps(got[field]) == json.dumps(wanted[field]) or _same_number(got[field], wanted[field])
    return {"text": _value(got, field), "mark": "right" if same else "free" if free else "wrong"}


def _same_number(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers and one == other


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _value(record: Mapping[str, Any], field: str) -> str:
    if field not in record:
        return ""
    value = record[field]
    return _clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _clip(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text) - _SHOWN} more characters)"


def duration(seconds: float | None) -> str:
    """Seconds for people: ``0.4 s``, ``38 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def percent(share: float | None) -> str:
    """A share as percent with one decimal."""
    return "not defined" if share is None else f"{100 * share:.1f}%"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, always with its sign."""
    return "not defined" if difference is None else f"{100 * difference:+.1f}".replace("-", "−")


def interval(ends: Interval | None) -> str:
    """An interval of shares in percent."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}".replace("-", "−")


def p_value(p: float | None) -> str:
    """A p-value with two significant digits, never smaller than it can honestly be said to be."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def number(value: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def at(moment: str | None) -> str:
    """A moment to the second, in UTC."""
    return "" if moment is None else f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M:%S} UTC"
