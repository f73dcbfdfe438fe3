"""kill -9, Ctrl-C and a second process: the same command goes on, and ends in the same bits."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR, Walked
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.domain.run import Run
from tuneward.errors import GovernanceError, StorageError, TrainingError
from tuneward.governance.change import change
from tuneward.progress import Silent
from tuneward.storage.database import now
from tuneward.storage.repository import latest
from tuneward.workflows.approve import grant, request
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.run import run as run_all
from tuneward.workflows.status import status
from tuneward.workflows.train import train
from tuneward.workflows.verify import verify
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
    assert run_all(workspace).of("deploy").deployment.status == "active"


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


@dataclass
class Told(Silent):
    """Remembers what is said."""

    lines: list[str]

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize("failed", [False, True], ids=["interrupted", "failed"])
def test_a_run_goes_on_with_smaller_windows_and_says_so(approved: Workspace, failed: bool) -> None:
    process = start(approved.folder, "train")
    wait_for_checkpoint(approved)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=SECONDS_TO_WAIT) == 130
    with approved.site.database.read() as c:
        before = latest(c, Run, status="running")
    if failed:  # as it is when memory ran out
        with change(approved.office, "run.fail", before.id) as c:
            c.put(replace(before, status="failed", finished_at=now()))
    settings = approved.folder / "tuneward.yaml"
    settings.write_text(settings.read_text().replace("training:\n", "training:\n  window_tokens: 96\n"))
    smaller = open_workspace(approved.folder, actor=ACTOR)
    with pytest.raises(GovernanceError, match="An earlier approval was for other data or settings"):
        train(smaller, resume=True)
    grant(smaller.office, request(smaller, "it did not fit").approval.id, "a test")
    told = Told([])
    result = train(smaller, resume=True, progress=told)
    run = result.run
    assert (result.resumed, run.id, run.figures["resumed"]) == (True, before.id, 1)
    assert (run.config["window_tokens"], run.inputs_digest == before.inputs_digest) == (96, False)
    was = before.config["window_tokens"]
    assert f"going on with {run.id}, which was interrupted, with window_tokens 96 in the place of {was}" in told.lines
    (line,) = [line for line in told.lines if "other bits" in line]
    step = int(line.split()[2]) - 1
    assert line == f"from step {step + 1} on with window_tokens 96, up to there with window_tokens {was}: " + (
        "same losses, other bits"
    )
    assert run.figures["settings_by_step"].startswith(f"steps 1 to {step}: window_tokens {was}, ")
    assert f"; steps {step + 1} to the last: window_tokens 96, " in run.figures["settings_by_step"]
    assert train(smaller).reused
    walked = run_all(smaller)
    chain = verify(smaller.office, walked.of("register").version.id)
    assert [fault for link in chain.links for fault in link.faults] == []


def test_other_data_or_rates_are_no_run_to_go_on_with(approved: Workspace) -> None:
    process = start(approved.folder, "train")
    wait_for_checkpoint(approved)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=SECONDS_TO_WAIT)
    settings = approved.folder / "tuneward.yaml"
    settings.write_text(settings.read_text().replace("training:\n", "training:\n  weight_decay: 0.01\n"))
    other = open_workspace(approved.folder, actor=ACTOR)
    grant(other.office, request(other, "other").approval.id, "a test")
    with pytest.raises(TrainingError, match=r"TW-TRAIN-040.*it had other data, base or settings"):
        train(other, resume=True)
