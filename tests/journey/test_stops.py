"""Stopped at every step by kill -9, Ctrl-C or SIGTERM: nothing is left behind, the same command goes on."""

from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR, Walked
from tests.journey.stopped_command import INT, KILL, TERM, Stop, run_stopped
from tests.journey.tiny_project import make_project
from tuneward.governance.audit import events
from tuneward.storage.artifacts import Artifacts
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey

#: One walk, stopped again and again, each time a step further on.
STOPS = [
    (("init",), Stop("commit", "site.create", KILL)),
    (("init",), Stop("commit", "site.create", TERM)),
    (("init",), None),
    (("run",), Stop("stored", "any", KILL)),
    (("run",), Stop("commit", "base.pull", INT)),
    (("run",), Stop("commit", "dataset.prepare", TERM)),
    (("run",), Stop("stored", "any", KILL)),
    (("run",), Stop("commit", "approval.request", KILL)),
    (("run",), Stop("commit", "approval.grant", TERM)),
    (("run",), Stop("commit", "run.start", INT)),
    (("run",), Stop("commit", "run.finish", KILL)),
    (("run",), Stop("asked", "once", KILL)),
    (("run",), Stop("commit", "evaluation.finish", TERM)),
    (("run",), Stop("commit", "version.register", INT)),
    (("run",), Stop("engine", "started", INT)),
    (("run",), Stop("commit", "deployment.activate", KILL)),
]


def left_overs(folder: Path) -> list[str]:
    """What only a killed process could have left, after a next one has opened and locked the site."""
    site = folder / ".tuneward"
    Artifacts(site / "artifacts")
    found = [*site.glob("artifacts/tmp/*"), *site.glob("runs/tmp*"), *site.glob("runs/*/checkpoints/.writing-*")]
    return [str(path) for path in [*found, *folder.glob(".tuneward-new-*"), *folder.glob(".tuneward.yaml.*")]]


def test_a_walk_that_is_stopped_at_every_step_ends_as_one_that_is_not(tmp_path: Path, walked: Walked) -> None:
    folder = make_project(tmp_path / "project")
    for arguments, stop in STOPS:
        code, alive = run_stopped(folder, arguments, stop)
        assert code == (0 if stop is None else -KILL if stop.signal == KILL else 130), f"{arguments[0]}: {stop}"
        assert alive == [], f"{arguments[0]}: {stop}"
        if stop is None or stop.signal != KILL:
            assert left_overs(folder) == [], f"{arguments[0]}: {stop}"
    workspace = open_workspace(folder, actor=ACTOR)
    result = run(workspace)
    assert left_overs(folder) == []
    assert not workspace.site.held("train")
    for step, made in (("train", "adapter"), ("pull", "base")):
        assert getattr(result.of(step), made).id == getattr(walked.result.of(step), made).id
    assert result.of("evaluate").report["figures"] == walked.result.of("evaluate").report["figures"]
    assert {state.state for state in status(workspace).steps} == {"done"}
    chain = verify(workspace.office, result.of("deploy").deployment.id)
    assert [fault for link in chain.links for fault in link.faults] == []
    with workspace.site.database.read() as c:
        done = [event.action for event in events(c) if event.decision == "done"]
    assert [done.count(name) for name in ("run.finish", "evaluation.finish", "version.register")] == [1, 1, 1]


@pytest.mark.parametrize("end", [KILL, TERM], ids=["kill -9", "sigterm"])
def test_a_gateway_that_is_stopped_leaves_no_engine_and_no_lock(copied, end) -> None:
    project = copied()
    code, alive = run_stopped(project.folder, ("serve",), Stop("served", "once", end))
    assert code == (-KILL if end == KILL else 0)
    assert alive == []
    assert not project.workspace().site.held("serve")
