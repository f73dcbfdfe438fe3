import json

import pytest
from evaluation_cases import json_task, row

from tuneward.configuration import validate
from tuneward.errors import ConfigError
from tuneward.evaluation.config import EvaluationConfig
from tuneward.evaluation.tasks import TASKS, TextTask, make_task, reference_faults


def hits(tmp_path, answer: str, reference: str) -> dict[str, float]:
    return {name: part[0] for name, part in json_task(tmp_path).score(answer, reference).parts.items()}


def test_right_answer_in_other_words_and_order(tmp_path) -> None:
    answer = '{ "summary": "a wet cat", "amount": 12.0, "category": "water" }'
    score = json_task(tmp_path).score(answer, row(summary="the wet cat"))
    assert score.points == 1.0
    assert score.failure is None
    assert score.parts["task.exact_match"] == (1.0, 1.0)
    assert score.parts["task.fields.summary.f1"] == (pytest.approx(2 * 2 / 3), 2.0)
    assert score.parts["task.fields.category.precision"] == (1.0, 1.0)


@pytest.mark.parametrize(
    ("answer", "valid", "valid_json", "found", "exact", "failure"),
    [
        (row(), 1, 1, 1, 1, None),
        (row("fire"), 1, 1, 1, 0, None),
        (row("flood"), 0, 1, 1, 0, "not by schema"),
        (row(colour="red"), 0, 1, 1, 0, "not by schema"),
        (row(date=None), 1, 1, 1, 0, None),  # null is not the same as missing
        (row(amount=True), 0, 1, 1, 0, "not by schema"),
        (f"Sure: {row()}", 0, 0, 1, 0, "text around the object"),
        (row()[:-3], 0, 0, 0, 0, "cut off or broken JSON"),
        ("", 0, 0, 0, 0, "empty"),
    ],
)
def test_grades(tmp_path, answer: str, valid: int, valid_json: int, found: int, exact: int, failure: str) -> None:
    task = json_task(tmp_path)
    score = task.score(answer, row())
    names = ("task.valid", "task.valid_json", "task.json_found", "task.exact_match")
    assert [score.parts[name][0] for name in names] == [valid, valid_json, found, exact]
    assert score.failure == failure
    assert set(task.figures) == set(score.parts)


def test_slots_by_hand(tmp_path) -> None:
    """Wanted category, amount, date; said category (right), amount (wrong), a strange field; date left null."""
    parts = json_task(tmp_path).score(
        row("fire", 7, date=None, colour="red"), row("fire", 8, date="2026-01-01")
    ).parts  # fmt: skip
    assert parts["task.field_f1"] == (2.0, 3 + 3)
    assert parts["task.fields.amount.precision"] == (0.0, 1.0)
    assert parts["task.fields.date.precision"] == (0.0, 0.0)
    assert parts["task.fields.date.recall"] == (0.0, 1.0)
    assert parts["task.fields.date.agreement"] == (0.0, 1.0)
    assert parts["task.fields.summary.agreement"] == (1.0, 1.0)  # silent on both sides
    assert parts["task.fields.summary.f1"] == (0.0, 0.0)


def test_unreadable_answer_costs_recall_not_precision(tmp_path) -> None:
    parts = json_task(tmp_path).score("no idea", row()).parts
    assert parts["task.fields.category.precision"] == (0.0, 0.0)
    assert parts["task.fields.category.recall"] == (0.0, 1.0)
    assert parts["task.field_f1"] == (0.0, 2.0)


def test_free_text_that_is_no_string_earns_nothing(tmp_path) -> None:
    assert hits(tmp_path, row(summary=["the wet cat"]), row(summary="the wet cat"))["task.fields.summary.f1"] == 0.0


def test_text_task_scores() -> None:
    score = TextTask().score("the gunman kill police", "police killed the gunman")
    assert score.parts["task.exact_match"] == (0.0, 1.0)
    assert score.parts["task.rouge_l"] == (0.5, 1.0)
    assert score.points == pytest.approx(0.75)
    assert TextTask().score(" ", "x").failure == "empty"


def test_settings_that_name_no_field_are_refused_together(tmp_path) -> None:
    (tmp_path / "s.json").write_text('{"type": "object", "properties": {"summary": {}}}')
    values = {
        "task": {"kind": "json", "schema": "s.json", "free_text": ["sumary"]},
        "gate": {"task.fields.amount.f1": {"min": 1}, "task.fields.summary.f1": {"min": 1}},
    }
    with pytest.raises(ConfigError) as error:
        make_task(validate(values, EvaluationConfig), project_folder=tmp_path)
    assert [fault.place for fault in error.value.faults] == ["evaluation.task.free_text", "evaluation.gate"]


def test_digest_follows_schema_and_free_text(tmp_path) -> None:
    first = json_task(tmp_path)
    assert json_task(tmp_path).digest == first.digest
    assert json_task(tmp_path, {"type": "object", "properties": {"summary": {}}}).digest != first.digest
    bare = validate({"task": {"kind": "json", "schema": "s.json"}}, EvaluationConfig)
    assert make_task(bare, project_folder=tmp_path).digest != first.digest


def test_wrong_references_are_counted_and_never_quoted(tmp_path) -> None:
    references = {f"rec_{place}": row("Jane Doe") for place in range(30)} | {"rec_good": row(), "rec_bad": "Jane Doe"}
    faults = reference_faults(json_task(tmp_path), references, limit=5)
    assert len(faults) == 6
    assert faults[0].place == "rec_0"
    assert faults[-1].message.startswith("26 more")
    assert "Jane" not in json.dumps([fault.to_json() for fault in faults])


def test_every_kind_of_task_can_be_made(tmp_path) -> None:
    assert set(TASKS) == {"json", "reward", "text"}
    config = validate({"task": {"kind": "text"}}, EvaluationConfig)
    assert make_task(config, project_folder=tmp_path).kind == "text"
