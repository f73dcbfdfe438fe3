"""Bases of one site: two projects may use one word for two folders, and two words for the same bytes."""

from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.domain.base import Base
from tuneward.storage.repository import get
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import PullResult, pull
from tuneward.workflows.road import survey
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey


def pulled(workspace: Workspace) -> PullResult:
    return pull(workspace.office, workspace.project.base, beside=workspace.folder)


def found(workspace: Workspace) -> str | None:
    base = survey(workspace).base
    return base.id if base else None


@pytest.fixture
def two(tmp_path: Path) -> tuple[Workspace, Workspace]:
    """Two projects on the site above them; both say ``base: base``."""
    init(tmp_path, actor=ACTOR)
    one, other = (make_project(tmp_path / name) for name in ("one", "other"))
    (other / "base" / "README.md").write_text("---\nlicense: apache-2.0\n---\nAnother model.\n")
    return open_workspace(one, actor=ACTOR), open_workspace(other, actor=ACTOR)


def test_one_word_for_two_folders_is_two_bases(two) -> None:
    one, other = two
    first = pulled(one).base
    assert found(other) is None
    second = pulled(other)
    assert not second.reused
    assert second.base.id != first.id
    assert (found(one), found(other)) == (first.id, second.base.id)
    assert pulled(one).reused
    assert pulled(other).reused


def test_the_same_bytes_under_another_name_leave_the_first_name_standing(copied, tmp_path: Path) -> None:
    project = copied()
    workspace = project.workspace()
    first = project.result.of("pull").base
    second = make_project(project.folder / "second", settings=SETTINGS.replace("base: base", "base: ../base"))
    again = open_workspace(second, actor=ACTOR)
    assert found(again) == first.id  # another spelling of the same folder
    (project.folder / "base").rename(project.folder / "moved")
    moved = open_workspace(
        make_project(project.folder / "third", settings=SETTINGS.replace("base: base", "base: ../moved")), actor=ACTOR
    )
    assert found(moved) is None
    assert pulled(moved).base.id == first.id
    assert found(moved) == found(workspace) == first.id
    with workspace.site.database.read() as c:
        kept = get(c, Base, first.id)
    assert kept is not None
    assert (kept.name, kept.licence, kept.source["also_named"]) == ("base", first.licence, ["moved"])
    assert verify(workspace.office, project.answer_id).verified  # signed papers name the base as it was called first


def test_a_folder_that_changed_and_changed_back_is_the_first_base_again(two) -> None:
    one, _ = two
    first = pulled(one).base
    card = one.folder / "base" / "README.md"
    text = card.read_text()
    card.write_text(text + "One more line.\n")
    assert pulled(one).base.id != first.id
    card.write_text(text)
    assert pulled(one).base.id == first.id == found(one)
    prepare(one)
