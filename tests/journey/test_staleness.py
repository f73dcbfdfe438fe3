"""A change of each setting: `status` calls exactly the right steps undone, and `run` does exactly these again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.journey.conftest import ACTOR, Walked
from tuneward.domain.dataset import Dataset
from tuneward.domain.version import Deployment
from tuneward.inspection.identity import rules_digest
from tuneward.progress import Silent
from tuneward.storage.repository import find
from tuneward.workflows.prepare import prepare
from tuneward.workflows.run import run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import open_workspace

pytestmark = pytest.mark.journey

PAPERS = {"approve", "register", "deploy"}
JUDGED = {"approve", "evaluate", "register", "deploy"}
TRAINED = {"approve", "train", "evaluate", "register", "deploy"}
PREPARED = {"prepare", *TRAINED}


def put(old: str, new: str) -> Callable[[str], str]:
    """A change of ``tuneward.yaml``: one text for another."""

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


def add(line: str) -> Callable[[str], str]:
    return lambda text: text + line + "\n"


CHANGES: dict[str, tuple[Callable[[str], str], set[str]]] = {
    "project": (put("project: tiny-triage", "project: other-triage"), PREPARED),
    "purpose": (put("to walk the road in a test.", "for another end."), PAPERS),
    "use": (put("use: internal", "use: hosted"), PAPERS),
    "risk_class": (add("risk_class: high"), PAPERS),
    "base": (put("base: base", "base: another"), {"pull", *PREPARED}),
    "base, spelled otherwise": (put("base: base", "base: ./base"), set()),
    "data.train": (put("[train.jsonl]", "[t*n.jsonl]"), PREPARED),
    "data.subject": (put("  subject: customer\n", ""), PREPARED),
    "data.legal_basis": (put("legal_basis: contract", "legal_basis: consent"), PREPARED),
    "data.licence": (put("  system:", "  licence: MIT\n  system:"), PREPARED),
    "data.system": (put("Answer with the record.", "Answer with one record."), PREPARED),
    "data.too_long": (put("  system:", "  too_long: drop\n  system:"), PREPARED),
    "inspection.views": (add("inspection: {views: false}"), PREPARED),
    "training.adapter": (put("alpha: 16", "alpha: 8"), TRAINED),
    "training.epochs": (put("epochs: 6", "epochs: 5"), TRAINED),
    "training.seed": (put("  epochs: 6", "  seed: 3\n  epochs: 6"), TRAINED),
    "evaluation.task": (put("max_tokens: 24", "max_tokens: 20"), JUDGED),
    "evaluation.gate": (put("{min: 0.5}", "{min: 0.4}"), JUDGED),
    "evaluation.samples": (put("  gate:", "  samples: 2\n  gate:"), JUDGED),
    "evaluation.items": (put("  gate:", "  items: 3\n  gate:"), JUDGED),
    "policy": (add("policy: team"), PREPARED),
    "serving.alias": (put("serving: {", "serving: {alias: other, "), {"deploy"}),
    "serving.precision": (put("serving: {", "serving: {precision: bf16, "), {"evaluate", "register", "deploy"}),
    "serving.port": (put("{port: 0", "{port: 8399"), set()),
    "serving.max_rows": (put("max_rows: 8", "max_rows: 4"), set()),
    "serving.temperature": (put("serving: {", "serving: {temperature: 0.5, "), set()),
}


def undone(folder: Path) -> set[str]:
    return {state.step for state in status(open_workspace(folder, actor=ACTOR)).steps if state.state != "done"}


@pytest.fixture
def settings(walked: Walked):
    """The walked project's ``tuneward.yaml``, put back afterwards; only ``status`` looks at it."""
    path = walked.folder / "tuneward.yaml"
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("edit", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_changed_setting_leaves_exactly_the_right_steps_undone(settings: Path, edit, expected: set[str]) -> None:
    assert undone(settings.parent) == set()
    settings.write_text(edit(settings.read_text(encoding="utf-8")), encoding="utf-8")
    assert undone(settings.parent) == expected


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl", "schema.json"])
def test_a_changed_file_leaves_exactly_the_right_steps_undone(walked: Walked, name: str) -> None:
    path = walked.folder / name
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"ok"', b'"no"'))
    try:
        assert undone(walked.folder) == PREPARED
    finally:
        path.write_bytes(before)
    assert undone(walked.folder) == set()


@pytest.mark.parametrize("known", [True, False])
def test_other_rules_of_inspection_make_the_dataset_stale_and_say_so(
    copied, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    project = copied()
    (dataset,) = datasets(project)
    assert dataset.inspector == rules_digest()
    monkeypatch.setattr("tuneward.workflows.road.rules_digest", lambda: "f" * 64)
    monkeypatch.setattr("tuneward.workflows.prepare.rules_digest", lambda: "f" * 64)
    if not known:  # as in a site of before
        with project.workspace().site.database.write() as c:
            c.execute(text("UPDATE dataset SET inspector = NULL"))
    assert undone(project.folder) == PREPARED
    says = next(state.says for state in status(project.workspace()).steps if state.step == "prepare")
    assert dataset.id in says
    assert ("other rules" if known else "not known") in says
    heard = Heard()
    made = prepare(project.workspace(), progress=heard)
    assert f"{says}; they are inspected again" in heard.said
    assert not made.reused
    assert undone(project.folder) == set(), "the same rows came out: what trained on them stands"
    assert sorted(str(made.inspector) for made in datasets(project))[1:] == ["f" * 64]
    assert prepare(project.workspace()).reused


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def datasets(project: Walked) -> list[Dataset]:
    with project.workspace().site.database.read() as c:
        return find(c, Dataset)


def test_run_does_exactly_what_a_change_asks_for(copied) -> None:
    project = copied()
    path = project.folder / "tuneward.yaml"
    office = project.workspace().office

    def walk(*names: str):
        for name in names:
            path.write_text(CHANGES[name][0](path.read_text(encoding="utf-8")), encoding="utf-8")
        result = run(project.workspace())
        return result, {done.step for done in result.steps if not done.reused}

    _, done = walk("serving.port")
    assert done == set()
    words, done = walk("purpose", "use")
    assert done == PAPERS
    version = words.of("register").version
    assert version.number == 2
    assert version.adapter == project.result.of("register").version.adapter
    assert "for another end." in (Path(words.of("register").papers) / "model-card.md").read_text(encoding="utf-8")
    renamed, done = walk("data.legal_basis", "serving.alias")
    assert done == {"prepare", *PAPERS}, "the same rows on another ground: permitted anew, not trained anew"
    assert undone(project.folder) == set()
    assert renamed.of("deploy").deployment.alias == "other"
    with office.site.database.read() as c:
        assert [d.id for d in find(c, Deployment, status="active")] == [renamed.of("deploy").deployment.id]
    for subject in (project.answer_id, version.id, renamed.of("deploy").deployment.id):
        assert [fault for link in verify(office, subject).links for fault in link.faults] == []
