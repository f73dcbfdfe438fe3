"""A small json task for the tests of this room."""

import json
from pathlib import Path
from typing import Any

from tuneward.configuration import validate
from tuneward.evaluation.config import EvaluationConfig
from tuneward.evaluation.measure import Item
from tuneward.evaluation.tasks import Task, make_task

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["category", "amount"],
    "additionalProperties": False,
    "properties": {
        "category": {"enum": ["water", "fire", "theft"]},
        "amount": {"type": ["number", "null"]},
        "date": {"type": ["string", "null"], "format": "date"},
        "summary": {"type": "string"},
    },
}


def config(**changes: Any) -> EvaluationConfig:
    task = {"kind": "json", "schema": "s.json", "free_text": ["summary"]}
    return validate({"task": task, **changes}, EvaluationConfig)


def json_task(folder: Path, schema: Any = SCHEMA, **changes: Any) -> Task:
    (folder / "s.json").write_text(json.dumps(schema), encoding="utf-8")
    return make_task(config(**changes), project_folder=folder)


def row(category: str = "water", amount: Any = 12, **more: Any) -> str:
    return json.dumps({"category": category, "amount": amount, **more})


def items(*references: str) -> list[Item]:
    return [Item(id=f"rec_{place}", prompt=f"mail {place}", reference=text) for place, text in enumerate(references)]
