"""A consent is withdrawn after the model is registered and deployed: everything downstream is affected, and says so."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journey.conftest import ACTOR
from tuneward.domain.law import Affected, Withdrawal
from tuneward.domain.record import Message
from tuneward.errors import GovernanceError, ServingError
from tuneward.governance.audit import events
from tuneward.storage.repository import find
from tuneward.workflows.chat import conversation
from tuneward.workflows.consent import heed_deployed, withdraw, withdrawn
from tuneward.workflows.prepare import prepare
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace


class Said(list):
    def say(self, text: str) -> None:
        self.append(text)


@pytest.fixture(scope="module")
def consented(walked, tmp_path_factory) -> Path:
    """The walked project on consent, row by row, walked again."""

    folder = tmp_path_factory.mktemp("consent") / "project"
    shutil.copytree(walked.folder, folder)
    settings = (folder / "tuneward.yaml").read_text(encoding="utf-8")
    settings = settings.replace(
        "  legal_basis: contract\n",
        "  legal_basis: consent\n  terms: {columns: {consent: form, consent_expires: until}}\n",
    )
    (folder / "tuneward.yaml").write_text(settings, encoding="utf-8")
    for name in ("train", "test"):
        path = folder / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            row |= {"form": f"form-{row['customer']}", "until": "2999-12-31"}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run(open_workspace(folder, actor=ACTOR))
    return folder


@pytest.fixture
def project(consented: Path, tmp_path: Path) -> Path:

    target = tmp_path / "copy"
    shutil.copytree(consented, target)
    return target


def customers(folder: Path) -> list[str]:
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["customer"] for line in rows]


def kinds(folder: Path) -> set[str]:
    with open_workspace(folder, actor=ACTOR).site.database.read() as c:
        return {marked.kind for marked in find(c, Affected)}


def test_everything_downstream_is_affected_and_says_so(project: Path):
    workspace = open_workspace(project, actor=ACTOR)
    who = customers(project)[0]
    version = next(state for state in status(workspace).steps if state.step == "register").says.split(":")[0]
    result = withdraw(workspace.office, f"form-{who}", reason="asked by letter")
    (one,) = result.withdrawn
    assert one.named == "reference"
    assert one.counts.keys() >= {"dataset", "run", "adapter", "evaluation", "version", "deployment"}
    assert not result.reused
    assert all(marked.rows == customers(project).count(who) for marked in one.marks if marked.kind == "dataset")

    after = status(workspace)
    assert {line.split()[0] for line in after.affected} == {"dataset", "run", "version", "deployment"}
    assert next(state for state in after.steps if state.step == "prepare").state == "stale"
    chain = verify(workspace.office, version)
    assert chain.verified, "the chain is whole; what it proves is that the model learned from these rows"
    (link,) = [link for link in chain.links if link.affected]
    assert link.name == "consent"
    assert link.says.startswith("AFFECTED: 1 consent")
    said = Said()
    heed_deployed(workspace.office, said.say)
    assert "WARNING" in said[0]
    assert "withdrawn" in said[0]
    with workspace.site.database.read() as c:
        (event,) = [event for event in events(c) if event.action == "consent.withdraw"]
        (record,) = find(c, Withdrawal)
    assert event.subject == one.withdrawal.id
    assert record.reason == "asked by letter"
    everything = (project / ".tuneward" / "site.db").read_bytes()
    assert f"form-{who}".encode() not in everything, "the reference is kept nowhere"


def test_saying_it_again_changes_nothing(project: Path):
    office = open_workspace(project, actor=ACTOR).office
    name = f"form-{customers(project)[0]}"
    first = withdraw(office, name)
    with office.site.database.read() as c:
        before = len(list(events(c)))
    second = withdraw(office, name)
    assert second.reused
    assert second.withdrawn[0].marks == first.withdrawn[0].marks
    with office.site.database.read() as c:
        assert len(list(events(c))) == before
    assert withdraw(office, first.withdrawn[0].withdrawal.id).reused, "its pseudonym names it as well"
    assert len(withdrawn(office).withdrawn) == 1


def test_the_next_dataset_is_without_the_rows_and_its_card_says_so(project: Path):
    who = customers(project)[0]
    workspace = open_workspace(project, actor=ACTOR)
    withdraw(workspace.office, who, named="subject")
    result = prepare(workspace)
    law = result.counts["law"]
    assert law["left"]["train"] == {"withdrawn": customers(project).count(who)}
    card = json.loads(Path(result.card).with_name("card.json").read_text(encoding="utf-8"))
    assert card["legal"]["named"]["withdrawn"][0] == {"row": "train.jsonl:1"}
    assert status(workspace).affected, "what was made before stays affected"
    assert not [line for line in status(workspace).affected if result.dataset.id in line]


def test_withdrawn_before_the_rows_are_read_is_the_same(project: Path, tmp_path: Path):
    who = customers(project)[0]
    workspace = open_workspace(project, actor=ACTOR)
    path = project / "train.jsonl"
    late = {
        "customer": "c-late",
        "form": "form-late",
        "until": "2999-01-01",
        "prompt": "late red",
        "answer": {"kind": "ok"},
    }
    result = withdraw(workspace.office, "form-late")
    assert {one.named for one in result.withdrawn} == {"reference", "subject"}, "nothing knows it yet"
    assert all(not one.marks for one in result.withdrawn)
    assert withdraw(workspace.office, "form-late").reused
    path.write_text(path.read_text(encoding="utf-8") + json.dumps(late) + "\n", encoding="utf-8")
    assert prepare(workspace).counts["law"]["left"]["train"] == {"withdrawn": 1}
    assert who in customers(project)
    assert kinds(project) == set()


def test_a_policy_may_refuse_what_is_affected(project: Path):
    workspace = open_workspace(project, actor=ACTOR)
    withdraw(workspace.office, f"form-{customers(project)[0]}")
    strict = replace(workspace.office, policy=replace(workspace.office.policy, affected="refuse"))
    with pytest.raises(GovernanceError, match="TW-GOV-018"):
        heed_deployed(strict, Said().say)
    with strict.site.database.read() as c:
        assert [event.decision for event in events(c)][-1] == "refused"


def test_a_running_gateway_refuses_what_became_affected(project: Path):
    workspace = open_workspace(project, actor=ACTOR)
    office = replace(workspace.office, policy=replace(workspace.office.policy, affected="refuse"))
    question = (Message("user", "test red 1 blue"),)
    with conversation(replace(workspace, office=office)) as line:
        first = line.ask(question)
        withdraw(workspace.office, f"form-{customers(project)[0]}")
        with pytest.raises(ServingError, match="cannot be answered now"):
            line.ask(question)
    with workspace.site.database.read() as c:
        given = [event for event in events(c) if event.action == "answer.start"]
    assert given[-1].id == first.id.removeprefix("chatcmpl-"), "the refused one began no answer"
    assert [line for line in status(workspace).affected if line.startswith("deployment")]


def test_a_running_gateway_goes_on_where_the_policy_warns(project: Path):
    workspace = open_workspace(project, actor=ACTOR)
    assert workspace.office.policy.affected == "warn"
    question = (Message("user", "test red 1 blue"),)
    with conversation(workspace) as line:
        withdraw(workspace.office, f"form-{customers(project)[0]}")
        assert line.ask(question).answer
    assert [line for line in status(workspace).affected if line.startswith("deployment")]


def test_a_name_that_is_both_is_asked_about(project: Path):
    who = customers(project)[0]
    path = project / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[1]["form"] = who
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    workspace = open_workspace(project, actor=ACTOR)
    prepare(workspace)
    with pytest.raises(GovernanceError, match=r"TW-GOV-017(.|\n)*--reference"):
        withdraw(workspace.office, who)
    assert len(withdraw(workspace.office, who, named="subject").withdrawn) == 1


def test_a_dataset_whose_consent_ends_is_not_current_any_more(project: Path, monkeypatch):
    workspace = open_workspace(project, actor=ACTOR)
    assert next(state for state in status(workspace).steps if state.step == "prepare").state == "done"
    monkeypatch.setattr("tuneward.workflows.road._today", lambda: "3000-01-01")
    assert next(state for state in status(workspace).steps if state.step == "prepare").state == "stale"
