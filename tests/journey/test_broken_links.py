"""Each link of the chain, broken: `verify` fails and names it; deploy and serve refuse."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.journey.conftest import Walked
from tuneward.cli.main import main
from tuneward.digests import digest_file, leaf_hash
from tuneward.errors import GovernanceError, ProofError
from tuneward.governance.api_keys import create, revoke
from tuneward.governance.audit import checkpoint, events, leaf_data
from tuneward.governance.change import change
from tuneward.storage.site import Site
from tuneward.workflows.deploy import deploy
from tuneward.workflows.verify import check_deployment, verify

pytestmark = pytest.mark.journey


def flip(path: Path, at: int = -3) -> None:
    """Change one byte of a file, whatever its permissions."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def in_tree(project: Walked, digest: str, name: str) -> None:
    flip(project.workspace().site.artifacts.tree(digest) / name)


def execute(project: Walked, statement: str, **values: object) -> None:
    site = Site.open(project.folder / ".tuneward")
    with site.database.write() as c:
        assert c.execute(text(statement), values).rowcount > 0


def adapter_byte(project: Walked) -> None:
    in_tree(project, project.result.of("register").version.adapter, "adapter_model.safetensors")


def base_byte(project: Walked) -> None:
    in_tree(project, project.result.of("pull").base.id, "model.safetensors")


def statement_byte(project: Walked) -> None:
    in_tree(project, project.result.of("register").version.papers, "statement.dsse.json")


def aibom_byte(project: Walked) -> None:
    in_tree(project, project.result.of("register").version.papers, "aibom.cdx.json")


def report_byte(project: Walked) -> None:
    in_tree(project, project.result.of("evaluate").evaluation.report, "report.json")


def training_row(project: Walked) -> None:
    in_tree(project, project.result.of("prepare").dataset.tree, "train.jsonl")


def version_row(project: Walked) -> None:
    execute(project, "UPDATE version SET number = 7")


def adapter_row(project: Walked) -> None:
    execute(project, "UPDATE adapter SET rank = 99")


def evaluation_row(project: Walked) -> None:
    execute(project, "UPDATE evaluation SET reasons = :r", r=json.dumps(["task.valid: met, honestly"]))


def approval_row(project: Walked) -> None:
    execute(project, "UPDATE approval SET reason = 'the board said yes'")


def run_row(project: Walked) -> None:
    execute(project, "UPDATE run SET seed = 1234")


def dataset_row(project: Walked) -> None:
    execute(project, "UPDATE dataset SET train_rows = 1")


def base_row(project: Walked) -> None:
    execute(project, "UPDATE base SET licence = 'MIT'")


def deployment_row(project: Walked) -> None:
    execute(project, "UPDATE deployment SET system = 'Say yes to everything.'")


def answer_of_another_adapter(project: Walked) -> None:
    site = Site.open(project.folder / ".tuneward")
    with site.database.write() as c:
        started = next(event for event in events(c, action="answer.start"))
        detail = {**started.detail, "adapter": "0" * 64}
        leaf = leaf_hash(leaf_data(replace(started, detail=detail))).hex()
        for name, value in {"detail": json.dumps(detail), "leaf": leaf}.items():
            c.execute(text(f"UPDATE audit_event SET {name} = :v WHERE id = :id"), {"v": value, "id": started.id})


def deployment_gone(project: Walked) -> None:
    execute(project, "DELETE FROM deployment")


def record_row(project: Walked) -> None:
    execute(project, "DELETE FROM record WHERE position = 3 AND split = 'train'")


def outcome_event(project: Walked) -> None:
    execute(project, "DELETE FROM audit_event WHERE action = 'answer.finish'")


def event_actor(project: Walked) -> None:
    execute(project, "UPDATE audit_event SET actor = 'somebody' WHERE seq = 2")


def events_cut_off(project: Walked) -> None:
    execute(project, "DELETE FROM audit_event WHERE seq > (SELECT max(seq) - 1 FROM audit_event)")


def unreadable_scope(project: Walked) -> None:
    execute(project, "UPDATE approval SET scope = '[]'")


def unreadable_config(project: Walked) -> None:
    execute(project, "UPDATE run SET config = '[1]'")


def unreadable_event(project: Walked) -> None:
    execute(project, "UPDATE audit_event SET writes = '[1]', detail = '[1]' WHERE seq = 3")


def damaged_config(project: Walked) -> None:
    execute(project, "UPDATE run SET config = '{'")


def damaged_scope(project: Walked) -> None:
    execute(project, "UPDATE approval SET scope = 'no JSON'")


def damaged_counts(project: Walked) -> None:
    execute(project, "UPDATE dataset SET counts = '{'")


def damaged_answer(project: Walked) -> None:
    execute(project, "UPDATE audit_event SET detail = '{' WHERE action LIKE 'answer.%'")


def damaged_member(project: Walked) -> None:
    execute(project, "UPDATE member SET roles = '['")


def damaged_checkpoint(project: Walked) -> None:
    execute(project, "UPDATE log_checkpoint SET peaks = '['")


BREAKS: list[tuple[str, Callable[[Walked], None]]] = [
    ("adapter", adapter_byte),
    ("base", base_byte),
    ("version", statement_byte),
    ("version", aibom_byte),
    ("evaluation", report_byte),
    ("dataset", training_row),
    ("version", version_row),
    ("adapter", adapter_row),
    ("evaluation", evaluation_row),
    ("approval", approval_row),
    ("run", run_row),
    ("dataset", dataset_row),
    ("base", base_row),
    ("deployment", deployment_row),
    ("deployment", deployment_gone),
    ("register", record_row),
    ("answer", answer_of_another_adapter),
    ("answer", outcome_event),
    ("log", event_actor),
    ("log", events_cut_off),
    ("approval", unreadable_scope),
    ("run", unreadable_config),
    ("log", unreadable_event),
    ("run", damaged_config),
    ("approval", damaged_scope),
    ("dataset", damaged_counts),
    ("answer", damaged_answer),
    ("log", damaged_answer),
    ("register", damaged_member),
    ("log", damaged_checkpoint),
]


@pytest.mark.parametrize(("named", "harm"), BREAKS, ids=[harm.__name__ for _, harm in BREAKS])
def test_a_broken_link_is_named(copied, named: str, harm: Callable[[Walked], None]) -> None:
    project = copied()
    harm(project)
    chain = verify(project.workspace().office, project.answer_id)
    assert not chain.verified
    assert named in {link.name for link in chain.links if not link.holds}


def test_deploy_refuses_an_adapter_that_was_changed_by_one_byte(copied) -> None:
    project = copied()
    execute(project, "UPDATE deployment SET status = 'replaced'")
    adapter_byte(project)
    with pytest.raises(ProofError) as caught:
        deploy(project.workspace())
    assert any("adapter" in fault.message for fault in caught.value.faults)


def test_serve_refuses_a_deployment_whose_approval_was_edited(copied) -> None:
    project = copied()
    approval_row(project)
    faults = check_deployment(project.workspace().office, project.result.of("deploy").deployment)
    assert any("approval" in fault.place for fault in faults)


def test_the_newest_answer_is_one_that_has_ended(copied) -> None:
    office = copied().workspace().office
    with change(office, "answer.start", "dep_x") as begun:  # a colleague's, still being written
        begun.note(deployment="dep_x")
    _, key = create(office, name="leaver", member=office.actor)
    revoke(office, key.id)
    with (
        pytest.raises(GovernanceError),
        change(replace(office, actor=f"key:{key.id}"), "answer.start", "dep_x"),
    ):
        pass
    chain = verify(office)
    assert chain.verified
    with office.site.database.read() as c:
        *_, refused = events(c, action="answer.start")
        (ended,) = events(c, action="answer.finish")
    assert chain.subject == ended.subject
    assert verify(office, ended.id).verified
    with pytest.raises(ProofError, match="refused"):
        verify(office, refused.id)


@pytest.mark.parametrize("subject", ["dep_typo", "ver_typo", "evt_typo"])
def test_an_id_that_was_never_given_is_no_broken_chain(walked, subject: str) -> None:
    with pytest.raises(ProofError) as caught:
        verify(walked.workspace().office, subject)
    assert caught.value.faults[0].code == "TW-PROOF-011"


def test_a_checkpoint_kept_elsewhere_tells_what_the_site_forgot(copied, tmp_path: Path, capsys) -> None:
    project = copied()
    site = Site.open(project.folder / ".tuneward")
    kept = tmp_path / "kept.txt"
    with change(project.workspace().office, "gateway.start", "gw_forgotten"):
        pass
    kept.write_text(checkpoint(project.workspace().office))
    for path in site.log_folder.iterdir():
        path.unlink()
    execute(project, "DELETE FROM log_checkpoint")
    execute(project, "DELETE FROM audit_event WHERE seq = (SELECT max(seq) FROM audit_event)")
    version = project.result.of("register").version.id
    command = ["verify", version, "--project", str(project.folder)]
    codes = []
    for arguments in (command, [*command, "--checkpoint", str(kept)]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        codes.append(ended.value.code)
    assert codes == [0, ProofError.exit_code]
    assert "TW-PROOF-005" in capsys.readouterr().out


def test_the_printed_chain_names_the_row(copied, capsys) -> None:
    project = copied()
    record_row(project)
    with pytest.raises(SystemExit):
        main(["verify", "--project", str(project.folder)])
    dataset = project.result.of("prepare").dataset.id
    assert f"record {dataset}: was changed behind the log's back" in capsys.readouterr().out


def test_a_damaged_row_is_named_once_and_nothing_else_with_it(copied) -> None:
    project = copied()
    damaged_counts(project)
    dataset = project.result.of("prepare").dataset.id
    chain = verify(project.workspace().office, project.answer_id)
    named = {(link.name, fault.place) for link in chain.links for fault in link.faults if fault.code != "TW-PROOF-012"}
    assert named == {("dataset", f"dataset {dataset}")}


def test_a_blob_that_cannot_be_read_is_a_broken_link(copied, monkeypatch) -> None:
    project = copied()
    adapter = project.result.of("register").version.adapter
    tree = project.workspace().site.artifacts.tree(adapter)

    def failing(path: Path) -> str:
        if path.name == "adapter_model.safetensors":
            raise OSError(5, "Input/output error", str(path))
        return digest_file(path)

    monkeypatch.setattr("tuneward.storage.artifacts.digest_file", failing)
    assert tree.is_dir()
    broken = [link for link in verify(project.workspace().office, project.answer_id).links if not link.holds]
    assert [link.name for link in broken] == ["adapter"]
    assert "adapter_model.safetensors: cannot be read (Input/output error)" in broken[0].faults[0].message
