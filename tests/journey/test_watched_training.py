"""A run with all that makes it a pleasure: held-out rows, samples, early end, tracking, through the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.errors import ConfigError
from tuneward.workflows.approve import grant, request
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey

WATCHED = """\
  schedule: linear
  weight_decay: 0.01
  optimizer: adamw_8bit
  neftune_alpha: 5
  recompute: 2
  validation: {fraction: 0.2, every_steps: 2, patience: 3, samples: 2, sample_tokens: 8}
"""


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TUNEWARD_ACTOR": ACTOR}
    return subprocess.run(
        [sys.executable, "-m", "tuneward.cli.main", *arguments, "--project", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_watched_run(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    settings = SETTINGS.replace("  checkpoint_seconds: 0.5\n", "  checkpoint_seconds: 0.5\n" + WATCHED)
    folder = make_project(tmp_path / "project", settings=settings)
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    dataset = prepare(workspace).dataset
    grant(workspace.office, request(workspace, "a test").approval.id, "a test")
    done = command(folder, "train")
    assert done.returncode == 0, done.stderr
    assert "before the first step: held-out loss" in done.stderr
    assert "the best so far" in done.stderr
    assert "held-out loss over" in done.stdout
    again = json.loads(command(folder, "train", "--json").stdout)
    figures = again["run"]["figures"]
    assert again["reused"]
    assert figures["validation_best_loss"] < figures["validation_first_loss"]
    assert figures["rows"] + figures["validation_rows"] == dataset.train_rows
    assert 1 <= figures["best_step"] == figures["kept_step"] <= figures["steps"]
    picture = workspace.site.artifacts.tree(again["run"]["curve"]) / "loss.svg"
    assert f"held out, best after step {figures['best_step']}" in picture.read_text(encoding="utf-8")

    (run,) = workspace.site.folder.glob("runs/*")
    assert list((run / "tensorboard").iterdir())
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({line["row"] for line in samples}) == 2
    assert "kind" in samples[-1]["reference"]
    assert "held-out" not in (run / "process.log").read_text(encoding="utf-8")
    for place in (done.stderr, done.stdout, (run / "process.log").read_text(encoding="utf-8")):
        assert samples[0]["row"] not in place

    refused = command(folder, "train", "--resume", "--json")
    assert json.loads(refused.stdout)["error"]["faults"][0]["code"] == "TW-TRAIN-040"


@pytest.mark.parametrize("wrong", ["patience: 3", "samples: 2"])
def test_what_needs_held_out_rows_is_refused_with_its_line(tmp_path: Path, wrong: str) -> None:
    settings = SETTINGS.replace("  epochs: 6\n", f"  epochs: 6\n  validation:\n    {wrong}\n")
    folder = make_project(tmp_path / "project", settings=settings)
    init(folder, actor=ACTOR)
    with pytest.raises(ConfigError) as caught:
        open_workspace(folder, actor=ACTOR)
    (fault,) = caught.value.faults
    line = 1 + settings.splitlines().index("  validation:")
    assert fault.place == f"{folder / 'tuneward.yaml'}:{line}"
    assert "need held-out rows" in fault.message
