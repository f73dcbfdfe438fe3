import pytest
import yaml
from evaluation_cases import json_task

from tuneward.configuration import Section, load_section, validate
from tuneward.errors import ConfigError
from tuneward.evaluation.config import FIELD_PREFIX, TASK_FIGURES, EvaluationConfig, JsonTaskConfig
from tuneward.evaluation.tasks import TextTask

AS_IN_PRODUCT = """
task: {kind: json, schema: triage.schema.json}
suites: [general, refusal, bias, memorization]
gate: {task.exact_match: {min: 0.6}, forgetting: {max_drop: 0.05}, memorization.extracted: {max: 0}}
"""


def faults(values: object) -> list[str]:
    with pytest.raises(ConfigError) as error:
        validate(values, EvaluationConfig)  # type: ignore[arg-type]
    return [f"{fault.code} {fault.place} {fault.message} {fault.cure}" for fault in error.value.faults]


def test_section_of_the_product_page_is_valid_as_written() -> None:
    config = validate(yaml.safe_load(AS_IN_PRODUCT), EvaluationConfig)
    assert isinstance(config.task, JsonTaskConfig)
    assert config.task.schema_file == "triage.schema.json"
    assert config.items is None
    assert config.gate_json() == {
        "task.exact_match": {"min": 0.6, "bound": "point"},
        "forgetting": {"max_drop": 0.05, "bound": "point"},
        "memorization.extracted": {"max": 0.0, "bound": "point"},
    }


def test_canonical_settings_are_read_back() -> None:
    config = validate(yaml.safe_load(AS_IN_PRODUCT), EvaluationConfig)
    assert validate(config.canonical(), EvaluationConfig) == config


def test_text_task() -> None:
    config = validate({"task": {"kind": "text"}, "gate": {"task.rouge_l": {"min": 0.2}}}, EvaluationConfig)
    assert config.task.max_tokens == 256


def test_unknown_figure_is_refused_with_the_nearest_one_and_the_list() -> None:
    (text,) = faults({"task": {"kind": "text"}, "gate": {"task.exakt_match": {"min": 1}}})
    assert "did you mean `task.exact_match`?" in text
    assert "memorization.extracted" in text


def test_figure_of_another_kind_of_task_is_refused() -> None:
    (text,) = faults({"task": {"kind": "text"}, "gate": {"task.valid": {"min": 1}}})
    assert "a task of kind text has no figure `task.valid`" in text


def test_all_faults_at_once_and_unknown_keys_get_a_suggestion() -> None:
    found = faults({"task": {"kind": "json", "schemas": "x", "max_tokens": 0}, "suites": ["bais"], "sampels": 2})
    assert any("`task.schema` is missing" in text for text in found)
    assert any("`task.schemas`" in text and "did you mean `schema`?" in text for text in found)
    assert any("`task.max_tokens`" in text for text in found)
    assert any("suites[0]" in text for text in found)
    assert any("did you mean `samples`?" in text for text in found)


@pytest.mark.parametrize("task", [{}, {"kind": "jsn"}, "json", None])
def test_wrong_kind_names_the_kinds(task: object) -> None:
    (text,) = faults({"task": task})
    assert "`kind: json`, `kind: text` or `kind: reward`" in text


@pytest.mark.parametrize(
    "rule",
    [{}, {"mn": 0.5}, {"min": float("nan")}, {"min": 0.9, "max": 0.1}, {"max_drop": -0.1}, {"min": 0.5, "bound": "x"}],
)
def test_rule_that_asks_nothing_or_nonsense_is_refused(rule: object) -> None:
    assert faults({"task": {"kind": "text"}, "gate": {"task.exact_match": rule}})


def test_suite_twice_is_refused() -> None:
    assert "each suite once" in faults({"task": {"kind": "text"}, "suites": ["bias", "bias"]})[0]


def test_place_is_file_and_line_of_the_gate(tmp_path) -> None:
    class Project(Section):
        evaluation: EvaluationConfig

    file = tmp_path / "tuneward.yaml"
    file.write_text("evaluation:\n  task:\n    kind: json\n    schema: s\n  gate:\n    task.exact_mach: {min: 1}\n")
    with pytest.raises(ConfigError) as error:
        load_section(file, Project)
    assert error.value.faults[0].place == f"{file}:6"


def test_figures_that_the_gate_knows_are_those_that_tasks_measure(tmp_path) -> None:
    measured = [name for name in json_task(tmp_path).figures if not name.startswith(FIELD_PREFIX)]
    assert tuple(measured) == TASK_FIGURES["json"]
    assert tuple(TextTask().figures) == TASK_FIGURES["text"]
