"""A run foreseen: `train --plan` before anybody approved, without a trace in the site."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.domain.run import Run
from tuneward.storage.repository import find
from tuneward.workflows.init import init
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


def test_without_rows_the_next_command_is_said(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", settings=SETTINGS)
    init(folder, actor=ACTOR)
    said = plan(folder)
    assert said.returncode != 0
    assert "cure: " in said.stderr
