import json
import socket
from pathlib import Path
from typing import Any

import pytest
from evaluation_cases import SCHEMA

from tuneward.errors import ConfigError
from tuneward.evaluation.schema import load_schema, unknown_fields


def written(folder: Path, value: Any) -> Path:
    file = folder / "s.json"
    file.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return file


def codes(folder: Path, value: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_schema(written(folder, value), shown="s.json")
    assert all(fault.place.startswith("s.json") for fault in error.value.faults)
    return [fault.code for fault in error.value.faults]


def test_fields_and_digest(tmp_path) -> None:
    schema = load_schema(written(tmp_path, SCHEMA))
    assert schema.fields == ("category", "amount", "date", "summary")
    spaced = load_schema(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(SCHEMA, indent=4).encode()))
    assert spaced.digest == schema.digest
    other = load_schema(written(tmp_path, SCHEMA | {"required": []}))
    assert other.digest != schema.digest


def test_format_is_checked_without_extras(tmp_path) -> None:
    schema = load_schema(written(tmp_path, SCHEMA))
    assert schema.holds({"category": "fire", "amount": None, "date": "2026-02-28"})
    assert not schema.holds({"category": "fire", "amount": None, "date": "2026-02-30"})


def test_problem_names_place_and_rule_but_no_value(tmp_path) -> None:
    schema = load_schema(written(tmp_path, SCHEMA))
    assert schema.problem({"category": "Jane Doe", "amount": 1}) == "field `category` breaks the schema's `enum`"
    assert schema.problem({"category": "fire"}) == "the object breaks the schema's `required`"
    assert schema.problem({"category": "fire", "amount": 1}) is None


def test_missing_file(tmp_path) -> None:
    with pytest.raises(ConfigError) as error:
        load_schema(tmp_path / "none.json", shown="none.json")
    assert (error.value.faults[0].code, error.value.faults[0].place) == ("TW-EVAL-001", "none.json")


def test_broken_json_has_its_line(tmp_path) -> None:
    with pytest.raises(ConfigError) as error:
        load_schema(written(tmp_path, b'{\n "type": \n}'), shown="s.json")
    assert error.value.faults[0].place == "s.json:3"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\xff\xfe{", ["TW-EVAL-001"]),
        (b"[" * 100_000, ["TW-EVAL-002"]),
        ([], ["TW-EVAL-002"]),
        ({"type": "objekt"}, ["TW-EVAL-002"]),
        ({"type": "array"}, ["TW-EVAL-002"]),
        ({"$ref": "#/$defs/none"}, ["TW-EVAL-003"]),
        ({"properties": {"a": {"$ref": "https://example.com/x.json"}, "b": {"$ref": "b.json"}}}, ["TW-EVAL-003"] * 2),
    ],
)
def test_unusable_schemas(tmp_path, value: Any, expected: list[str]) -> None:
    assert codes(tmp_path, value) == expected


def test_nothing_is_fetched(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert codes(tmp_path, {"$ref": "http://127.0.0.1:9/x.json"}) == ["TW-EVAL-003"]


def test_local_references_and_older_drafts_work(tmp_path) -> None:
    value = {"$defs": {"c": {"enum": ["x"]}}, "properties": {"a": {"$ref": "#/$defs/c"}}}
    assert not load_schema(written(tmp_path, value)).holds({"a": "y"})
    old = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"c": {"enum": ["x"]}},
        "properties": {"a": {"$ref": "#/definitions/c"}},
    }
    assert not load_schema(written(tmp_path, old)).holds({"a": "y"})
    named = {"$id": "https://example.com/s.json", **value}
    assert not load_schema(written(tmp_path, named)).holds({"a": "y"})


def test_a_property_called_ref_in_data_is_no_reference(tmp_path) -> None:
    load_schema(written(tmp_path, {"properties": {"a": {"const": {"$ref": "nowhere"}}}}))


def test_unknown_fields_get_a_suggestion(tmp_path) -> None:
    schema = load_schema(written(tmp_path, SCHEMA))
    near, far = unknown_fields(["sumary", "zzz", "date"], schema, setting="evaluation.task.free_text")
    assert near.cure == "did you mean `summary`?"
    assert "category, amount, date, summary" in far.cure
