"""Every method that learns from preferences walks from files to a finished run, by the commands' own ways."""

import json
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import COLOURS, SETTINGS, make_project
from tuneward.workflows.approve import grant, request
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.train import TrainResult, train
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey

#: Name → lines of the training section.
METHODS = {
    "dpo": ("method: dpo",),
    "cdpo": ("method: dpo", "preference: {label_smoothing: 0.1, sft_weight: 0.1}"),
    "ipo": ("method: dpo", "preference: {loss: ipo}"),
    "simpo": ("method: dpo", "preference: {loss: simpo, gamma: 1.0}"),
    "orpo": ("method: dpo", "preference: {loss: orpo, beta: 0.2}"),
    "kto": ("method: dpo", "preference: {loss: kto, undesirable_weight: 1.2}"),
    "reward": ("method: reward", "reward: {center: 0.01}"),
}


def rows(count: int, *, judged: bool) -> str:
    """The better answer repeats the colour."""
    lines: list[dict[str, object]] = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        prompt = f"item {number} is {colour}"
        better, worse = f"it is {colour}", f"no idea {number % 3}"
        if judged:
            lines.append({"prompt": prompt, "answer": better if number % 2 else worse, "label": bool(number % 2)})
        else:
            lines.append({"prompt": prompt, "chosen": better, "rejected": worse})
    return "".join(json.dumps(line) + "\n" for line in lines)


def walk(folder: Path, name: str) -> tuple[Workspace, TrainResult]:
    settings = SETTINGS.replace("  subject: customer\n", "").replace("  epochs: 6", "  epochs: 3")
    asked = "".join(f"  {line}\n" for line in METHODS[name])
    settings = settings.replace("training:\n", "training:\n" + asked).replace("1.0e-2", "5.0e-3")
    task = "{kind: reward}" if name == "reward" else "{kind: text}"
    settings = settings.replace("{kind: json, schema: schema.json, max_tokens: 24}", task)
    settings = settings.replace("{task.valid: {min: 0.5}}", "{}")
    make_project(folder, train=8, test=2, settings=settings)
    (folder / "train.jsonl").write_text(rows(48, judged=name == "kto"), encoding="utf-8")
    if name == "reward":
        (folder / "test.jsonl").write_text(rows(12, judged=False).replace("item", "thing"), encoding="utf-8")
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    prepare(workspace)
    grant(workspace.office, request(workspace, "a test").approval.id, "a test")
    return workspace, train(workspace)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_method_trains_and_is_not_trained_twice(tmp_path: Path, name: str) -> None:
    workspace, result = walk(tmp_path / "project", name)
    assert result.run.figures["final_loss"] < result.run.figures["first_loss"]
    assert train(workspace).reused
    if name == "reward":
        assert result.run.figures["held_out_pairs"] == 12
        assert result.run.figures["held_out_accuracy"] > 0.8
        base = AutoModelForSequenceClassification.from_pretrained(workspace.folder / "base", num_labels=1)
        PeftModel.from_pretrained(base, workspace.site.artifacts.tree(result.adapter.id))
