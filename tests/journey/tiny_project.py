"""A whole project of a tiny random model: small enough to walk the road in seconds, real in every step."""

import json
import random
from pathlib import Path

from tests.tiny import make_tiny_base

SETTINGS = """\
project: tiny-triage
purpose: Turn a colour word into a small record, to walk the road in a test.
base: base
use: internal
data:
  train: [train.jsonl]
  test: [test.jsonl]
  subject: customer
  legal_basis: contract
  system: Answer with the record.
training:
  adapter: {kind: lora, rank: 8, alpha: 16}
  epochs: 6
  learning_rate: 1.0e-2
  batch_tokens: 1024
  checkpoint_seconds: 0.5
evaluation:
  task: {kind: json, schema: schema.json, max_tokens: 24}
  gate: {task.valid: {min: 0.5}}
serving: {port: 0, max_rows: 8}
"""
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["ok"]}},
    "required": ["kind"],
    "additionalProperties": False,
}
ANSWER = {"kind": "ok"}
COLOURS = ("red", "green", "blue", "amber", "black", "white")


def make_project(folder: Path, *, train: int = 96, test: int = 6, settings: str = SETTINGS) -> Path:
    """Write base, data, schema and ``tuneward.yaml`` into a new folder."""
    folder.mkdir(parents=True)
    make_tiny_base(folder / "base")
    (folder / "base" / "LICENSE").write_text("SPDX-License-Identifier: Apache-2.0\n", encoding="utf-8")
    (folder / "base" / "README.md").write_text(
        "---\nlicense: apache-2.0\n---\nA tiny random model.\n", encoding="utf-8"
    )
    draw = random.Random(7)
    for name, count in (("train", train), ("test", test)):
        rows = [
            {
                "customer": f"c{draw.randrange(40)}",
                "prompt": f"{name} {draw.choice(COLOURS)} {number} {draw.choice(COLOURS)}",
                "answer": ANSWER,
            }
            for number in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (folder / "tuneward.yaml").write_text(settings, encoding="utf-8")
    return folder
