"""What ``training.start`` means: a run, a digest, a folder; and what forbids beginning there."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.serving.served_site import ServedSite
from tuneward.domain.base import Base
from tuneward.domain.run import Adapter, Run
from tuneward.errors import TrainingError
from tuneward.modeling.config import AdapterConfig
from tuneward.storage.repository import find, update
from tuneward.training.config import TrainingConfig
from tuneward.workflows.starts import keep, start_of
from tuneward.workflows.workspace import Workspace

SETTINGS = {"rank": 4, "alpha": 8.0}


class Project:
    """What of a project starts are asked of."""

    def __init__(self, **training):
        self.training = TrainingConfig(**{"adapter": SETTINGS} | training)


@pytest.fixture
def served(tmp_path):
    made = ServedSite.make(tmp_path)
    made.deploy("one")
    return made


@pytest.fixture
def began(served):
    """The run behind the deployment, with the settings that its adapter was trained with."""
    with served.office.site.database.write() as c:
        run = replace(find(c, Run)[0], config={"method": "sft", "adapter": AdapterConfig(**SETTINGS).canonical()})
        update(c, run)
    return run


def begin(served, *, base=None, **training):
    workspace = Workspace(served.folder, Project(**training), served.office)
    with served.office.site.database.read() as c:
        return start_of(c, workspace, base or find(c, Base)[0])


def change(served, noun, **fields):
    with served.office.site.database.write() as c:
        update(c, replace(find(c, noun)[0], **fields))


def refused(served, **asked):
    with pytest.raises(TrainingError) as caught:
        begin(served, **asked)
    return [(fault.code, fault.place) for fault in caught.value.faults]


def test_a_run_its_digest_and_a_copy_of_its_folder_mean_the_same(served, began):
    assert begin(served) is None
    tree = served.office.site.artifacts.tree(began.adapter)
    copy = served.folder / "copy"
    copy.mkdir()
    for path in tree.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "README.md").write_text("not part of an adapter")
    assert {begin(served, start=name) for name in (began.id, began.adapter, "copy", str(copy))} == {began.adapter}


def test_a_folder_from_outside_is_stored_by_the_digest_that_was_told(served):
    folder = served.folder / "outside"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights of somebody")
    digest = begin(served, start="outside")
    assert not served.office.site.artifacts.has(digest)
    workspace = Workspace(served.folder, Project(start="outside"), served.office)
    keep(workspace, digest)
    keep(workspace, digest)
    assert served.office.site.artifacts.check(digest) == []
    (folder / "adapter_model.safetensors").write_bytes(b"other weights")
    with pytest.raises(TrainingError, match="TW-TRAIN-030"):
        keep(workspace, "0" * 64)


@pytest.mark.parametrize("start", ["run_01J0000000000000000000000Z", "f" * 64, "nowhere", "copy"])
def test_what_nobody_knows_is_refused(served, start):
    assert refused(served, start=start) == [("TW-TRAIN-030", "training.start")]


def test_a_run_that_has_not_finished_is_refused(served, began):
    change(served, Run, adapter=None)
    assert refused(served, start=began.id) == [("TW-TRAIN-030", "training.start")]


def test_every_reason_is_told_at_once(served, began):
    change(served, Run, config=dict(began.config) | {"method": "reward"})
    with served.office.site.database.read() as c:
        other = replace(find(c, Base)[0], id="0" * 64)
    adapter = {"rank": 8, "alpha": 8.0, "dora": True}
    assert refused(served, start=began.id, base=other, adapter=adapter) == [
        ("TW-TRAIN-031", place)
        for place in ("training.start", "training.start", "training.adapter.rank", "training.adapter.dora")
    ]


def test_every_weight_begins_at_every_weight(served, began):
    assert refused(served, start=began.id, adapter={"kind": "full"}) == [("TW-TRAIN-031", "training.start")]
    change(served, Adapter, kind="full")
    assert refused(served, start=began.id) == [("TW-TRAIN-031", "training.start")]
    assert begin(served, start=began.id, adapter={"kind": "full"}) == began.adapter


def test_a_folder_cannot_start_every_weight(served):
    folder = Path(served.folder / "outside")
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    assert refused(served, start="outside", adapter={"kind": "full"}) == [("TW-TRAIN-031", "training.start")]
