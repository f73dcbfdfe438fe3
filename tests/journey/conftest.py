"""The walked road, made once; each test that harms it works on a copy."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journey.tiny_project import make_project
from tuneward.domain.record import Message
from tuneward.governance.audit import checkpoint
from tuneward.workflows.chat import conversation
from tuneward.workflows.init import init
from tuneward.workflows.run import RunResult, run
from tuneward.workflows.workspace import Workspace, open_workspace

ACTOR = "ada"


@dataclass(frozen=True)
class Walked:
    """A project that stands at the end of the road, with one answer given."""

    folder: Path
    result: RunResult
    answer_id: str

    def workspace(self) -> Workspace:
        return open_workspace(self.folder, actor=ACTOR)


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    folder = make_project(tmp_path_factory.mktemp("road") / "project")
    init(folder, actor=ACTOR)
    workspace = open_workspace(folder, actor=ACTOR)
    result = run(workspace)
    with conversation(workspace) as line:
        answer = line.ask((Message("user", "test red 1 blue"),))
    checkpoint(workspace.office)
    return Walked(folder, result, answer.id)


@pytest.fixture
def copied(walked: Walked, tmp_path: Path) -> Callable[[], Walked]:
    """Makes a copy that may be harmed."""

    def copy() -> Walked:
        target = tmp_path / "copy"
        shutil.copytree(walked.folder, target)
        return Walked(target, walked.result, walked.answer_id)

    return copy
