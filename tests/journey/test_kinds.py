"""The road for what is no plain LoRA adapter: every weight, a base in four bits, preferences after answers, a score."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors import safe_open

from tests.journey.test_broken_links import flip
from tests.journey.tiny_project import COLOURS, SETTINGS, make_project
from tuneward.domain.record import Message
from tuneward.domain.run import Run
from tuneward.errors import ConfigError, ServingError, TrainingError
from tuneward.modeling.folder_check import check_folder
from tuneward.registry.signing import open_envelope
from tuneward.storage.lineage import parents
from tuneward.storage.repository import find
from tuneward.workflows.approve import show
from tuneward.workflows.chat import conversation
from tuneward.workflows.deploy import deploy
from tuneward.workflows.init import init
from tuneward.workflows.road import survey
from tuneward.workflows.run import RunResult, run
from tuneward.workflows.status import status
from tuneward.workflows.verify import verify
from tuneward.workflows.workspace import Workspace, open_workspace

pytestmark = pytest.mark.journey
FEW = {"batch_tokens": 2048, "epochs": 2, "learning_rate": 1e-2}
NO_BAR = yaml.safe_load(SETTINGS)["evaluation"] | {"gate": {"task.valid": {"min": 0.0}}}
needs_four_bits = pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra qlora")


@dataclass
class Site:
    """A project whose settings change while its site stays."""

    folder: Path

    def workspace(self) -> Workspace:
        return open_workspace(self.folder, actor="ada")

    def settings(self, **sections: Any) -> None:
        """Replace whole sections of ``tuneward.yaml``."""
        path = self.folder / "tuneward.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))

    def walk(self, **training: Any) -> RunResult:
        self.settings(training=FEW | training)
        return run(self.workspace())

    def statement(self, walked: RunResult) -> dict[str, Any]:
        keys = self.workspace().office.keys
        envelope = (Path(walked.of("register").papers) / "statement.dsse.json").read_bytes()
        return open_envelope(envelope, keys.public, key_id=keys.key_id, place="")["predicate"]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Site]:
    def make(**rows: int) -> Site:
        folder = make_project(tmp_path / "project", **{"train": 48, "test": 4} | rows)
        init(folder, actor="ada")
        site = Site(folder)
        site.settings(evaluation=NO_BAR)
        return site

    return make


def write_pairs(folder: Path) -> None:
    for name, count in (("train", 48), ("test", 6)):
        rows = [
            {
                "customer": f"c{number % 7}",
                "prompt": f"{name} {COLOURS[number % 6]} {number}",
                "chosen": '{"kind":"ok"}',
                "rejected": '{"kind":"no way"}',
            }
            for number in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_that_trains_every_weight_walks_the_whole_road(made) -> None:
    site = made()
    walked = site.walk(adapter={"kind": "full"}, learning_rate=1e-3)
    adapter, workspace = walked.of("train").adapter, site.workspace()
    assert (adapter.kind, adapter.rank) == ("full", 0)
    folder = workspace.site.artifacts.tree(adapter.id)
    assert check_folder(folder).parameters == walked.of("pull").base.parameters
    base = {path.name for path in workspace.site.artifacts.tree(adapter.base).iterdir()}
    assert {path.name for path in folder.iterdir()} == base | {"CHANGES.txt"}
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118 - no mapping; tied weights are written once
    with conversation(workspace) as line:
        answer = line.ask((Message("user", "test red 1 blue"),))
    chain = verify(workspace.office, answer.id)
    assert [fault for link in chain.links for fault in link.faults] == []
    assert site.statement(walked)["training"] == {"kind": "full", "method": "sft", "base_kept_in": "none"}
    assert "every weight" in (Path(walked.of("register").papers) / "model-card.md").read_text()
    assert status(workspace).next == "tuneward serve"

    flip(folder / "model.safetensors")
    broken = [link.name for link in verify(workspace.office, answer.id).links if not link.holds]
    assert broken == ["adapter"]
    with pytest.raises(Exception, match="adapter"), conversation(workspace):
        pass


@needs_four_bits
@pytest.mark.parametrize(("ends", "kept"), [(False, "nf4"), (True, "nf4-all")])
def test_an_adapter_beside_four_bits_is_measured_and_served_beside_them(made, ends: bool, kept: str) -> None:
    site = made()
    walked = site.walk(adapter={"kind": "qlora", "rank": 8, "alpha": 16, "quantise_embeddings": ends})
    evaluation, report = walked.of("evaluate").evaluation, walked.of("evaluate").report
    assert (evaluation.canary["quantisation"], report["quantisation"]) == (kept, kept)
    assert any("four bits" in note and ("embedding" in note) == ends for note in report["notes"])
    assert site.statement(walked)["training"]["base_kept_in"] == kept
    workspace = site.workspace()
    with conversation(workspace) as line:
        answer = line.ask((Message("user", "test red 1 blue"),))
    assert verify(workspace.office, answer.id).verified
    assert list((workspace.site.folder / "runs").glob(f"gw_*/engine-*-{kept}.log"))


def test_preferences_are_learned_from_where_the_answers_ended(copied) -> None:
    first = copied()
    site, began = Site(first.folder), first.result.of("train").run
    write_pairs(site.folder)
    site.settings(evaluation=NO_BAR)
    walked = site.walk(method="dpo", start=began.id, adapter={"rank": 8, "alpha": 16})
    second, workspace = walked.of("train").run, site.workspace()
    assert second.start == began.adapter
    assert second.figures["first_loss"] == pytest.approx(0.693147, abs=1e-4)  # its reference is where it began
    with workspace.site.database.read() as c:
        assert ("adapter", began.adapter) in parents(c, "run", second.id)
    assert site.statement(walked)["training"] == {
        "kind": "lora", "method": "dpo", "base_kept_in": "none", "start": {"digest": began.adapter},
    }  # fmt: skip
    chain = verify(workspace.office, walked.of("register").version.id)
    assert chain.verified
    assert "start" in [link.name for link in chain.links]
    scope = show(workspace.office, walked.of("approve").approval.id).approval.scope
    assert (scope["start"], scope["training"]["start"], scope["training"]["method"]) == (began.adapter, began.id, "dpo")
    assert status(workspace).next == "tuneward serve"

    # the same start as a folder is another setting, which asks for another approval
    site.settings(training=FEW | {"method": "dpo", "start": "outside", "adapter": {"rank": 8, "alpha": 16}})
    shutil.copytree(workspace.site.artifacts.tree(began.adapter), site.folder / "outside")
    states = {state.step: state.state for state in status(site.workspace()).steps}
    assert (states["prepare"], states["approve"], states["train"]) == ("done", "stale", "stale")
    assert survey(site.workspace()).start == began.adapter

    flip(workspace.site.artifacts.tree(began.adapter) / "adapter_model.safetensors")
    broken = {link.name for link in verify(workspace.office, walked.of("register").version.id).links if not link.holds}
    assert broken == {"start"}


def test_a_start_that_does_not_fit_is_refused_before_anything_is_trained(copied) -> None:
    first = copied()
    site, began = Site(first.folder), first.result.of("train").run
    refused = {
        "run_nobody": "TW-TRAIN-030",
        "0" * 64: "TW-TRAIN-030",
        "nowhere": "TW-TRAIN-030",
    }
    for start, code in refused.items():
        with pytest.raises(TrainingError, match=code):
            site.walk(start=start, adapter={"rank": 8, "alpha": 16})
    with pytest.raises(TrainingError) as caught:
        site.walk(start=began.id, adapter={"rank": 4, "alpha": 8, "dora": True})
    places = [fault.place for fault in caught.value.faults]
    assert places == ["training.adapter.rank", "training.adapter.alpha", "training.adapter.dora"]
    with pytest.raises(TrainingError, match=r"an adapter, and training\.adapter\.kind is full"):
        site.walk(start=began.id, adapter={"kind": "full"})
    with site.workspace().site.database.read() as c:
        assert len(find(c, Run)) == 1


def test_a_score_is_measured_and_registered_and_never_served(made) -> None:
    site = made()
    write_pairs(site.folder)
    with pytest.raises(ConfigError, match="go together"):
        site.walk(method="reward", adapter={"rank": 8, "alpha": 16})
    site.settings(evaluation={"task": {"kind": "reward"}, "gate": {"reward.accuracy": {"min": 0.5}}})
    walked = site.walk(method="reward", adapter={"rank": 8, "alpha": 16})
    assert [done.step for done in walked.steps][-1] == "register"
    figures = walked.of("evaluate").report["figures"]
    assert figures["reward.accuracy"]["n"] == 6
    low, high = figures["reward.calibration_error"]["interval"]
    assert low <= figures["reward.calibration_error"]["tuned"] <= high
    workspace = site.workspace()
    assert verify(workspace.office, walked.of("register").version.id).verified
    seen = status(workspace)
    assert ({s.step: s.state for s in seen.steps}["deploy"], seen.next) == ("not needed", "tuneward verify")
    with pytest.raises(ServingError, match="TW-SERV-054"):
        deploy(workspace)
