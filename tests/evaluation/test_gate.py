from typing import Any

import pytest
from evaluation_cases import config

from tuneward.evaluation.gate import judge

FIGURE: dict[str, Any] = {
    "n": 200,
    "base": 0.73,
    "tuned": 0.71,
    "interval": [0.643, 0.768],
    "difference": -0.02,
    "difference_interval": [-0.09, 0.05],
}
UNDEFINED = {"n": 9, "base": None, "tuned": None, "interval": None, "difference": None, "difference_interval": None}
REPORT: dict[str, Any] = {
    "figures": {"task.exact_match": FIGURE, "task.field_f1": UNDEFINED, "task.valid": FIGURE | {"difference": None}},
    "fields": {"loss.date": {"f1": FIGURE | {"tuned": 0.9}}},
    "not_measured": [
        {"name": "memorization", "figures": ["memorization.extracted"], "reason": "no such suite", "asked": True}
    ],
}


def reasons(**gate: Any) -> tuple[bool, tuple[str, ...]]:
    verdict = judge(REPORT, {name.replace("__", "."): rule for name, rule in gate.items()})
    return verdict.passed, verdict.reasons


def test_wording() -> None:
    assert reasons(task__exact_match={"min": 0.6}) == (
        True,
        ("task.exact_match: asked at least 0.60, measured 0.71 [0.64, 0.77], n = 200: met",),
    )


def test_max_and_drop() -> None:
    passed, texts = reasons(task__exact_match={"max": 0.5, "max_drop": 0.05})
    assert not passed
    assert texts == (
        "task.exact_match: asked at most 0.50, measured 0.71 [0.64, 0.77], n = 200: not met",
        "task.exact_match: asked a drop of at most 0.05 from the base, "
        "measured a drop of 0.02 [-0.05, 0.09], n = 200: met",
    )


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ({"min": 0.65}, True),
        ({"min": 0.65, "bound": "interval"}, False),
        ({"min": 0.64, "bound": "interval"}, True),
        ({"max": 0.75}, True),
        ({"max": 0.75, "bound": "interval"}, False),
        ({"max_drop": 0.05}, True),
        ({"max_drop": 0.05, "bound": "interval"}, False),
        ({"min": 0.71}, True),
        ({"max": 0.71}, True),
        ({"max_drop": 0.02}, True),
        ({"min": 0.6, "max": None, "max_drop": None, "bound": "point"}, True),
    ],
)
def test_bounds(rule: dict[str, Any], passed: bool) -> None:
    assert reasons(task__exact_match=rule)[0] is passed


def test_what_is_not_measured_is_not_met() -> None:
    passed, texts = reasons(task__exact_match={"min": 0.1}, memorization__extracted={"max": 0})
    assert not passed
    assert texts[1] == "memorization.extracted: asked at most 0.00, not measured (no such suite): not met"
    assert "not measured (no suite that measures it" in reasons(forgetting={"max_drop": 0.05})[1][0]


def test_what_is_undefined_is_not_met() -> None:
    assert not reasons(task__field_f1={"max": 1})[0]
    assert not reasons(task__valid={"max_drop": 1})[0]
    assert reasons(task__valid={"min": 0.1})[0]


def test_fields_with_dots_in_their_names() -> None:
    assert reasons(**{"task__fields__loss__date__f1": {"min": 0.9}})[0]
    assert not reasons(**{"task__fields__none__f1": {"min": 0.9}})[0]


def test_value_is_never_rounded_to_look_like_its_threshold() -> None:
    report = {"figures": {"f": FIGURE | {"tuned": 0.5996, "interval": [0.6, 0.7]}}, "fields": {}}
    (reason,) = judge(report, {"f": {"min": 0.6}}).reasons
    assert "asked at least 0.60, measured 0.5996 [0.60, 0.70], n = 200: not met" in reason
    assert "asked at least 0.605," in judge(report, {"f": {"min": 0.605}}).reasons[0]


def test_no_threshold_asks_nothing() -> None:
    verdict = judge(REPORT, {})
    assert verdict.passed
    assert verdict.reasons == ("no threshold is set: nothing was asked",)


def test_frozen_settings_judge_as_the_settings_do() -> None:
    settings = config(gate={"task.exact_match": {"min": 0.6, "bound": "interval"}, "forgetting": {"max_drop": 0.05}})
    assert judge(REPORT, settings.gate_json()) == judge(REPORT, settings.gate)
    assert judge(REPORT, settings.canonical()["gate"]) == judge(REPORT, settings.gate)
