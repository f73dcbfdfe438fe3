"""A run foreseen: `train --plan` before anybody approved, without a trace in the site."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.cli.output import stdout
from tuneward.cli.plan import show_plan
from tuneward.domain.run import Run
from tuneward.storage.repository import find
from tuneward.workflows.init import init
from tuneward.workflows.plan import PlanResult, _load_above
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuneward.cli.main", "train", "--plan", *arguments, "--project", str(folder)]
    return subprocess.run(command, env={**os.environ, "TUNEWARD_ACTOR": ACTOR}, capture_output=True, text=True)


def test_a_run_is_foreseen_and_nothing_is_written(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", settings=SETTINGS)
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    prepare(workspace)
    said = plan(folder, "--json")
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)["plan"]
    assert told["memory"]["activations"] > 0
    assert told["peak_bytes"] >= sum(told["memory"].values())
    assert told["estimate"]["windows"] == min(5, told["steps"])
    human = plan(folder)
    assert human.returncode == 0, human.stderr
    for word in ("activations", "peak memory", "FLOP as 6ND", "Wh if it draws", "next: tuneward train"):
        assert word in human.stdout
    with workspace.site.database.read() as connection:
        assert find(connection, Run) == []
    assert not any((workspace.site.folder / "runs").iterdir())


@pytest.mark.parametrize(
    ("load", "cores", "told"), [(7.94, 2, 7.9), (2.0, 2, None), (15.0, 16, None), (OSError(), 2, None)]
)
def test_a_load_above_the_cores_is_known(
    monkeypatch: pytest.MonkeyPatch, load: float | OSError, cores: int, told: float | None
) -> None:
    def loads() -> tuple[float, float, float]:
        if isinstance(load, OSError):
            raise load
        return load, 0.0, 0.0

    monkeypatch.setattr("tuneward.workflows.plan.os.getloadavg", loads)
    assert _load_above(cores) == told


@pytest.mark.parametrize("load", [None, 7.9])
def test_a_time_that_was_measured_beside_other_work_is_said_to_be(load: float | None) -> None:
    estimate = {"seconds": 61.0, "watt_hours": 1.0, "watts": 10.0, "windows": 1}
    plan = dict.fromkeys(("trained_tokens", "rows", "longest_row", "tokens", "steps", "windows", "widest_window"), 1)
    plan |= dict.fromkeys(("base_parameters", "trained_parameters", "peak_bytes", "six_nd", "floating_operations"), 1)
    words = {
        "available_bytes": None,
        "not_reached": "",
        "kept_whole": "",
        "method": "sft",
        "precision": "fp32",
        "device": "cpu",
    }
    with stdout.capture() as captured:
        show_plan(PlanResult({**plan, **words, "memory": {}, "estimate": estimate}, load=load, cores=2))
    said = "beside other work (load 7.9 on 2 cores); alone it takes less"
    assert (said in captured.get()) == (load is not None)
    assert "1 in 1 window of up to 1 tokens" in captured.get()


def test_without_rows_the_next_command_is_said(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", settings=SETTINGS)
    init(folder, actor=ACTOR)
    said = plan(folder)
    assert said.returncode != 0
    assert "cure: " in said.stderr
