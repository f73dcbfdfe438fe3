"""`tuneward selfcheck` as a user runs it: on a project with and without rows, and on any folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.conftest import Walked
from tests.journey.tiny_project import make_project
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError, StorageError, TrainingError
from tuneward.workflows.selfcheck import selfcheck

pytestmark = pytest.mark.journey


def command(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tuneward.cli.main", *arguments],
        cwd=folder,
        env={**os.environ, "TUNEWARD_ACTOR": "ada", **environment},
        capture_output=True,
        text=True,
    )


def test_a_prepared_project_is_checked_with_its_own_rows(walked: Walked) -> None:
    before = sorted((walked.folder / ".tuneward").rglob("*.json"))
    done = command("selfcheck", "--json", folder=walked.folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["holds"]
    assert result["next"] == "tuneward train"
    assert result["rows_from"].startswith("dat_")
    assert all(row.startswith("rec_") for row in result["rows"])
    assert {line["verdict"] for line in result["lines"]} <= {"pass", "not applicable"}
    assert {line["on"] for line in result["lines"]} >= {"tokens", "whole model", "all 2 layers"}
    assert sorted((walked.folder / ".tuneward").rglob("*.json")) == before
    assert not list((walked.folder / ".tuneward" / "runs").glob("tmp*"))
    text = (walked.folder / ".tuneward" / "selfcheck.log").read_text()
    assert "blue" not in text


def test_any_folder_is_checked_without_a_project(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base", architecture="phi3")
    done = command("selfcheck", "--base", str(base), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "statements hold" in done.stdout
    assert "not applicable: the base's output head is a matrix of its own" in done.stdout
    assert "built-in conversations" in done.stdout


def test_a_statement_that_fails_is_told_and_ends_with_the_status_of_training(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    broken = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = command("selfcheck", "--base", str(base), folder=tmp_path, **broken)
    assert done.returncode == TrainingError.exit_code
    assert "1 DO NOT HOLD" in done.stdout
    assert "fail: the hidden states differ" in done.stdout
    done = command("selfcheck", "--base", str(base), "--json", folder=tmp_path, **broken)
    assert done.returncode == TrainingError.exit_code
    result = json.loads(done.stdout)
    assert not result["holds"]
    assert [line["name"] for line in result["lines"] if line["verdict"] == "fail"] == ["fused path"]


#: Python runs this file at its start; what it breaks is broken in the self-check's process only.
BROKEN = """
import sys
if "tuneward.training.selfcheck" in " ".join(sys.orig_argv):
    from tuneward.modeling.packed import PackedDocuments
    whole = PackedDocuments.attend_fused
    PackedDocuments.attend_fused = lambda self, *arguments: whole(self, *arguments) * 1.01
"""


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="TW-BASE-001"):
        selfcheck(tmp_path, base=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="TW-BASE"):
        selfcheck(tmp_path, base=tmp_path / "empty")
    project = make_project(tmp_path / "project")
    with pytest.raises(StorageError, match="TW-STOR-001"):
        selfcheck(project)
    assert command("init", folder=project).returncode == 0
    with pytest.raises(ModelError, match="TW-BASE-050"):
        selfcheck(project)


def test_a_project_without_rows_is_checked_with_built_in_ones(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    assert command("init", folder=project).returncode == 0
    assert command("pull", folder=project).returncode == 0
    result = selfcheck(project)
    assert result.holds
    assert result.rows_from == "built-in conversations"
    assert result.next == "tuneward prepare"
