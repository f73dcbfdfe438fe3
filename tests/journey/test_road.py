"""The whole road with a tiny random model: it is walked, not walked twice, and every step leaves its mark."""

import json
import shutil

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.journey.conftest import Walked
from tuneward.domain.audit import LogCheckpoint
from tuneward.governance.audit import events
from tuneward.storage.repository import find
from tuneward.workflows.log import export_checkpoint, read_log
from tuneward.workflows.road import STEPS
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify

pytestmark = pytest.mark.journey


def test_every_step_is_done_and_the_tuned_model_beats_its_base(walked: Walked) -> None:
    assert [done.step for done in walked.result.steps] == list(STEPS)
    figures = walked.result.of("evaluate").report["figures"]
    assert figures["task.valid"]["tuned"] > figures["task.valid"]["base"]
    assert walked.result.of("evaluate").evaluation.passed


def test_a_second_walk_does_nothing_again(walked: Walked) -> None:
    again = run(walked.workspace())
    assert all(done.reused for done in again.steps)
    assert again.of("register").version == walked.result.of("register").version


def test_status_shows_the_end_of_the_road(walked: Walked) -> None:
    seen = status(walked.workspace())
    assert {state.state for state in seen.steps} == {"done"}
    assert seen.next == "tuneward serve"


def test_a_changed_row_makes_later_steps_stale(copied) -> None:
    project = copied()
    rows = (project.folder / "train.jsonl").read_text().splitlines()
    (project.folder / "train.jsonl").write_text("\n".join(rows[1:]) + "\n")
    seen = {state.step: state.state for state in status(project.workspace()).steps}
    assert seen["pull"] == "done"
    assert seen["prepare"] == seen["train"] == seen["deploy"] == "stale"


def test_a_changed_setting_asks_for_a_new_approval(copied) -> None:
    project = copied()
    settings = project.folder / "tuneward.yaml"
    settings.write_text(settings.read_text().replace("epochs: 6", "epochs: 7"))
    seen = {state.step: state.state for state in status(project.workspace()).steps}
    assert seen["prepare"] == "done"
    assert seen["approve"] == seen["train"] == "stale"


def test_registering_is_covered_by_a_checkpoint_of_its_own(walked: Walked) -> None:
    with walked.workspace().site.database.read() as c:
        sizes = {row.size for row in find(c, LogCheckpoint)}
        (registered,) = events(c, action="version.register")
    assert registered.seq + 1 in sizes


def test_every_step_left_an_audit_event(walked: Walked) -> None:
    with walked.workspace().site.database.read() as c:
        actions = {event.action for event in events(c)}
    assert {
        "site.create", "base.pull", "dataset.prepare", "approval.request", "approval.grant", "run.start", "run.finish",
        "evaluation.finish", "version.register", "deployment.activate", "key.create", "gateway.start", "answer.start",
        "answer.finish", "gateway.stop", "key.revoke",
    } <= actions  # fmt: skip


def test_the_approval_says_that_it_was_the_requesters_own(walked: Walked) -> None:
    approval = walked.result.of("approve").approval
    assert approval.self_granted
    assert approval.requested_by == approval.decided_by == "ada"


def test_the_answer_is_verified_back_to_base_and_log(walked: Walked) -> None:
    chain = verify(walked.workspace().office, walked.answer_id)
    assert [link.name for link in chain.links] == [
        "answer", "deployment", "version", "adapter", "evaluation", "approval", "run", "dataset", "base",
        "register", "log",
    ]  # fmt: skip
    assert [fault for link in chain.links for fault in link.faults] == []
    assert chain.verified


def test_the_adapter_loads_in_plain_peft(walked: Walked) -> None:
    base = AutoModelForCausalLM.from_pretrained(walked.folder / "base")
    model = PeftModel.from_pretrained(base, walked.result.of("register").adapter)
    assert model.peft_config["default"].r == 8


def test_no_text_of_any_row_stands_in_the_log(walked: Walked) -> None:
    log = json.dumps([str(event) for event in read_log(walked.workspace().office, last=1000).events])
    assert "amber" not in log
    assert "Answer with the record" not in log


def test_a_checkpoint_names_the_logs_size(walked: Walked) -> None:
    office = walked.workspace().office
    size = len(read_log(office, last=1000).events)
    assert export_checkpoint(office).note.splitlines()[1] == str(size)


def test_a_lost_adapter_is_trained_again_to_the_same_bits_and_all_holds(copied) -> None:
    project = copied()
    artifacts = project.workspace().site.artifacts
    adapter = project.result.of("train").adapter.id
    manifest = artifacts.manifest(adapter)
    shutil.rmtree(artifacts.tree(adapter))
    for entry in manifest.values():
        artifacts.path(entry["digest"]).unlink()
    again = run(project.workspace())
    assert again.of("train").adapter.id == adapter
    assert again.of("register").version.id == project.result.of("register").version.id
    assert verify(project.workspace().office, project.answer_id).verified


def test_a_setting_that_moves_no_weight_leaves_the_earlier_version_whole(copied) -> None:
    project = copied()
    path = project.folder / "tuneward.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("checkpoint_seconds: 0.5", "checkpoint_seconds: 0.7"), encoding="utf-8")
    run(project.workspace())
    path.write_text(path.read_text(encoding="utf-8").replace("max_tokens: 24", "max_tokens: 25"), encoding="utf-8")
    walked_on = run(project.workspace())
    office = project.workspace().office
    assert verify(office, project.answer_id).verified
    assert verify(office, walked_on.of("register").version.id).verified
