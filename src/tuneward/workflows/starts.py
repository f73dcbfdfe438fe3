"""Starts: what ``training.start`` means, and whether training can begin there.

Place on the road: asked by ``road`` (the start is an input of the run) and by ``train``, which stores a folder from
outside. Knows no weights: sizes that only these tell are compared where they are loaded.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection

from tuneward.digests import digest_file, digest_value
from tuneward.domain.base import Base
from tuneward.domain.run import Adapter, Run
from tuneward.errors import Fault, TrainingError
from tuneward.ids import is_id
from tuneward.modeling.config import ADAPTER_FILES
from tuneward.storage.repository import get
from tuneward.training.config import TrainingConfig
from tuneward.workflows.workspace import Workspace

PLACE = "training.start"
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Settings of an adapter that fix its sizes and what its numbers mean.
_SIZES = ("rank", "alpha", "targets", "rslora", "dora")


def start_of(connection: Connection, workspace: Workspace, base: Base) -> str | None:
    """Digest of what the project's training begins with; None where it begins at the base.

    Raises:
        TrainingError: nothing is known by that name, or training cannot begin there (every reason).
    """
    training = workspace.project.training
    if training.start is None:
        return None
    digest = _named(connection, workspace, training.start)
    adapter = get(connection, Adapter, digest)
    run = get(connection, Run, adapter.run) if adapter else None
    if adapter and run:
        faults = list(_against(adapter, run, base, training))
    elif training.adapter.kind == "full":
        told, cure = "with kind full it is a run that trained every weight", "pull the folder's model as the base"
        faults = [Fault("TW-TRAIN-031", told, PLACE, cure)]
    else:
        faults = []
    if faults:
        raise TrainingError(faults)
    return digest


def keep(workspace: Workspace, digest: str) -> None:
    """Store a start that is a folder outside the site; what is in the store stays.

    Raises:
        StorageError: the disk is full.
        TrainingError: the folder changed meanwhile.
    """
    named = workspace.project.training.start
    folder = workspace.folder / (named or "")
    if workspace.site.artifacts.has(digest) or not _is_adapter(folder):
        return
    with workspace.site.scratch() as scratch:
        for name in ADAPTER_FILES:
            shutil.copyfile(folder / name, scratch / name)
        if workspace.site.artifacts.put_tree(scratch) != digest:
            told = "the folder changed while it was read"
            raise TrainingError(Fault("TW-TRAIN-030", told, PLACE, "run `tuneward train` again"))


def _named(connection: Connection, workspace: Workspace, named: str) -> str:
    """The digest behind a run's id, a digest or a folder."""
    if is_id(named, "run"):
        run = get(connection, Run, named)
        if run and run.adapter:
            return run.adapter
        told = "the run has not finished" if run else "the site knows no such run"
        raise TrainingError(
            Fault("TW-TRAIN-030", f"{told}: {named}", PLACE, "see `tuneward status` and `tuneward log`")
        )
    if _DIGEST.fullmatch(named):
        if get(connection, Adapter, named):
            return named
        told = f"the site knows no adapter of the digest {named[:12]}…"
        raise TrainingError(Fault("TW-TRAIN-030", told, PLACE, "name a run, or the adapter's folder"))
    folder = workspace.folder / named
    if _is_adapter(folder):
        files = {name: folder / name for name in ADAPTER_FILES}
        return digest_value({n: {"digest": digest_file(f), "bytes": f.stat().st_size} for n, f in files.items()})
    told = f"{named} is no run, no digest and no folder with {' and '.join(ADAPTER_FILES)}"
    raise TrainingError(
        Fault("TW-TRAIN-030", told, PLACE, "name a run of this site, such as the one of `tuneward train`")
    )


def _is_adapter(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ADAPTER_FILES)


def _against(adapter: Adapter, run: Run, base: Base, training: TrainingConfig) -> Iterator[Fault]:
    """Why training cannot begin with an adapter of the site."""
    if adapter.base != base.id:
        told = f"{run.id} trained beside the base {adapter.base[:12]}, this project's is {base.id[:12]}"
        yield Fault("TW-TRAIN-031", told, PLACE, "take the same base, or begin without a start")
    if run.config.get("method") == "reward":
        told = f"{run.id} trained a model that scores answers and writes none"
        yield Fault("TW-TRAIN-031", told, PLACE, "begin with a run of the method pretrain, sft or dpo")
    if (adapter.kind == "full") != (training.adapter.kind == "full"):
        what = "every weight" if adapter.kind == "full" else "an adapter"
        told, cure = (
            f"{run.id} trained {what}, and training.adapter.kind is {training.adapter.kind}",
            "take the same kind",
        )
        yield Fault("TW-TRAIN-031", told, PLACE, cure)
    elif training.adapter.kind != "full":
        asked, made = training.adapter.canonical(), run.config["adapter"]
        for name in _SIZES:
            if name in made and made[name] != asked[name]:
                told = f"{run.id} trained with {name} {made[name]}, the settings ask for {asked[name]}"
                yield Fault("TW-TRAIN-031", told, f"training.adapter.{name}", f"set it to {made[name]}")
