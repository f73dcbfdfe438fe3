"""Schemas that nobody should write: each is refused when the project is checked, before any work."""

import json
import os
from pathlib import Path

import pytest

from tuneward.errors import ConfigError
from tuneward.evaluation.schema import load_schema


@pytest.mark.parametrize(
    "text",
    [
        '{"$ref": "#"}',
        '{"properties": {"a": {"$ref": "#/properties/a"}}}',
        '{"properties": {"a": {"maximum": 1e999}}}',
        f'{{"properties": {{"a": {{"maximum": {"9" * 5000}}}}}}}',
        '{"title": "\\ud800"}',
    ],
)
def test_a_schema_that_cannot_be_judged_or_written_again_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "schema.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_schema(tmp_path / "schema.json")
    assert [fault.code for fault in refused.value.faults] == ["TW-EVAL-002"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "schema.json")
    with pytest.raises(ConfigError) as refused:
        load_schema(tmp_path / "schema.json")
    assert [fault.code for fault in refused.value.faults] == ["TW-EVAL-001"]


def test_an_answer_nested_too_deep_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    nested = {"items": {"$ref": "#/$defs/list"}}
    path.write_text(json.dumps({"properties": {"a": {"$ref": "#/$defs/list"}}, "$defs": {"list": nested}}))
    schema = load_schema(path)
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    assert not schema.holds({"a": deep})
    assert schema.problem({"a": deep}) == "the object is nested too deep to be judged"
