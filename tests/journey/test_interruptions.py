"""kill -9, Ctrl-C and a second process: the same command goes on, and ends in the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR, Walked
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.errors import StorageError, TrainingError
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.status import status
from tuneward.workflows.train import train
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey

SECONDS_TO_WAIT = 180.0


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tuneward.cli.main", *arguments, "--project", str(folder)],
        env={**os.environ, "TUNEWARD_ACTOR": ACTOR},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_checkpoint(workspace: Workspace) -> None:
    until = time.monotonic() + SECONDS_TO_WAIT
    while not list(workspace.site.folder.glob("runs/*/checkpoints/*")):
        assert time.monotonic() < until, "no checkpoint came"
        time.sleep(0.02)


@pytest.fixture
def approved(tmp_path: Path) -> Workspace:
    return approve(make_project(tmp_path / "project"))


@pytest.fixture
def approved_by_two(tmp_path: Path) -> Workspace:
    """A project that two processes train together."""
    two = SETTINGS.replace("training:\n", "training:\n  processes: 2\n")
    return approve(make_project(tmp_path / "project", settings=two))


def approve(folder: Path) -> Workspace:
    from tuneward.workflows.approve import grant, request
    from tuneward.workflows.pull import pull

    settings = folder / "tuneward.yaml"
    settings.write_text(settings.read_text().replace("checkpoint_seconds: 0.5", "checkpoint_seconds: 0.05"))
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    pull(workspace.office, "base", beside=folder)
    prepare(workspace)
    grant(workspace.office, request(workspace, "a test").approval.id, "a test")
    return workspace


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_an_interrupted_run_goes_on_to_the_same_bits(approved: Workspace, walked: Walked, end: signal.Signals) -> None:
    process = start(approved.folder, "train")
    wait_for_checkpoint(approved)
    process.send_signal(end)
    code = process.wait(timeout=SECONDS_TO_WAIT)
    assert code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    interrupted = {state.step: state for state in status(approved).steps}["train"]
    assert interrupted.state == "interrupted"
    with approved.site.lock("train"):
        running = {state.step: state for state in status(approved).steps}["train"]
    assert running.state == "running"
    result = train(approved, resume=True)
    assert result.resumed
    assert result.adapter.id == walked.result.of("train").adapter.id
    with pytest.raises(TrainingError, match=f"{result.run.id} is finished"):
        train(approved, resume=True)
    assert train(approved).reused


def test_resume_is_refused_where_no_run_was_interrupted(approved: Workspace) -> None:
    with pytest.raises(TrainingError) as caught:
        train(approved, resume=True)
    (fault,) = caught.value.faults
    assert (fault.code, fault.cure) == ("TW-TRAIN-040", "leave out --resume to start")
    assert not list(approved.site.folder.glob("runs/*"))


def test_a_kill_while_preparing_leaves_nothing_half_done(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    init(folder, actor=ACTOR)
    process = start(folder, "run")
    time.sleep(2.5)
    process.kill()
    process.wait(timeout=SECONDS_TO_WAIT)
    workspace = open_workspace(folder, actor=ACTOR)
    from tuneward.workflows.run import run

    assert run(workspace).of("deploy").deployment.status == "active"


def test_a_second_process_on_the_same_site_is_refused(approved: Workspace) -> None:
    process = start(approved.folder, "train")
    try:
        wait_for_checkpoint(approved)
        with pytest.raises(StorageError) as caught:
            train(approved)
        assert str(process.pid) in str(caught.value)
    finally:
        process.kill()
        process.wait(timeout=SECONDS_TO_WAIT)


def test_a_run_of_several_processes_is_stopped_and_gone_on_with(approved_by_two: Workspace) -> None:
    folder = approved_by_two.folder
    process = start(folder, "train")
    wait_for_checkpoint(approved_by_two)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS_TO_WAIT) == 130
    result = train(approved_by_two)
    assert result.resumed
    assert result.run.figures["processes"] == 2
    assert (approved_by_two.site.run_folder(result.run.id) / "process.rank1.log").is_file()
    assert result.run.figures["final_loss"] < result.run.figures["first_loss"]
