"""What the road refuses: nothing half-done, every fault with its cure."""

from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.errors import DataError, EvaluationError, GovernanceError, ModelError, ServingError, TrainingError
from tuneward.workflows.approve import grant, refuse, request
from tuneward.workflows.evaluate import evaluate
from tuneward.workflows.init import init
from tuneward.workflows.prepare import prepare
from tuneward.workflows.pull import pull
from tuneward.workflows.road import survey
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.train import train
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey


def project(tmp_path: Path, settings: str = SETTINGS) -> Workspace:
    folder = make_project(tmp_path / "project", settings=settings)
    init(folder, actor=ACTOR)
    return open_workspace(folder, actor=ACTOR)


def test_an_adapter_that_does_not_change_its_base_is_not_deployed(tmp_path: Path) -> None:
    lame = SETTINGS.replace("learning_rate: 1.0e-2", "learning_rate: 1.0e-12").replace(
        "gate: {task.valid: {min: 0.5}}", "gate: {}"
    )
    with pytest.raises(ServingError) as caught:
        run(project(tmp_path, lame))
    assert caught.value.faults[0].code == "TW-SERV-038"


def test_the_gate_stops_the_road(tmp_path: Path) -> None:
    strict = SETTINGS.replace("learning_rate: 1.0e-2", "learning_rate: 1.0e-12").replace(
        "gate: {task.valid: {min: 0.5}}", "gate: {task.valid: {min: 0.5}, task.exact_match: {min: 0.0}}"
    )
    workspace = project(tmp_path, strict)
    with pytest.raises(EvaluationError) as caught:
        run(workspace)
    assert ["task.valid" in fault.message for fault in caught.value.faults] == [True]
    assert {state.step: state.state for state in status(workspace).steps}["register"] == "open"


def test_steps_out_of_order_say_what_comes_first(tmp_path: Path) -> None:
    workspace = project(tmp_path)
    with pytest.raises(ModelError, match="tuneward pull"):
        prepare(workspace)
    pull(workspace.office, "base", beside=workspace.folder)
    with pytest.raises(DataError, match="tuneward prepare"):
        train(workspace)
    prepare(workspace)
    with pytest.raises(GovernanceError, match="tuneward approve request"):
        train(workspace)
    with pytest.raises(TrainingError, match="tuneward train"):
        evaluate(workspace)


def test_answers_that_do_not_fit_behind_their_prompts_are_refused_before_anything_trains(tmp_path: Path) -> None:
    workspace = project(tmp_path, SETTINGS)
    pull(workspace.office, "base", beside=workspace.folder)
    prepare(workspace)
    settings = workspace.folder / "tuneward.yaml"
    settings.write_text(SETTINGS.replace("max_tokens: 24", "max_tokens: 500"), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        run(open_workspace(workspace.folder, actor=ACTOR))
    (fault,) = caught.value.faults
    assert fault.code == "TW-DATA-021"
    assert "6 test rows" in fault.message


def test_under_policy_team_nobody_grants_the_own_request(tmp_path: Path) -> None:
    workspace = project(tmp_path, SETTINGS + "policy: team\n")
    with pytest.raises(GovernanceError) as caught:
        run(workspace)
    waiting = caught.value.faults[0].place
    with pytest.raises(GovernanceError):
        grant(workspace.office, waiting, "it is mine")


def test_a_refused_request_does_not_train(tmp_path: Path) -> None:
    workspace = project(tmp_path)
    pull(workspace.office, "base", beside=workspace.folder)
    prepare(workspace)
    refuse(workspace.office, request(workspace, "please").approval.id, "not this year")
    with pytest.raises(GovernanceError):
        train(workspace)


def test_a_licence_that_forbids_the_declared_use_is_refused(tmp_path: Path) -> None:
    workspace = project(tmp_path)
    (workspace.folder / "base" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (workspace.folder / "base" / "LICENSE").unlink()
    with pytest.raises(ModelError) as caught:
        pull(workspace.office, "base", use="hosted", beside=workspace.folder)
    assert "cc-by-nc-4.0" in str(caught.value).lower()
    with workspace.site.database.read() as c:
        from tuneward.domain.base import Base
        from tuneward.storage.repository import find

        assert find(c, Base) == []


def test_a_local_base_that_changed_is_taken_in_anew(tmp_path: Path) -> None:
    workspace = project(tmp_path)
    first = pull(workspace.office, "base", beside=workspace.folder)
    assert pull(workspace.office, "base", beside=workspace.folder).reused
    card = workspace.folder / "base" / "README.md"
    card.write_text(card.read_text() + "One more line.\n")
    again = pull(workspace.office, "base", beside=workspace.folder)
    assert not again.reused
    assert again.base.id != first.base.id


def test_another_schema_under_the_same_name_asks_for_permission_anew(tmp_path: Path) -> None:
    workspace = project(tmp_path)
    pull(workspace.office, "base", beside=workspace.folder)
    prepare(workspace)
    grant(workspace.office, request(workspace, "please").approval.id, "with this schema")
    assert survey(workspace).approval
    schema = workspace.folder / "schema.json"
    schema.write_text(schema.read_text().replace('"additionalProperties": false', '"additionalProperties": true'))
    prepare(workspace)
    assert survey(workspace).approval is None
