"""Any time: is the training core right on this model and these rows? Each promise is measured and told in a line."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.errors import DataError, Fault, ModelError, StorageError, TrainingError, TunewardError
from tuneward.progress import SILENT, Progress
from tuneward.storage.files import explained
from tuneward.storage.site import Site
from tuneward.training.selfcheck.line import Line
from tuneward.workflows.child import follow
from tuneward.workflows.prepare import require_base
from tuneward.workflows.road import survey
from tuneward.workflows.workspace import open_workspace

MODULE = "tuneward.training.selfcheck"
BUILT_IN = "built-in conversations"
#: What the process says of a fault by its exit code.
EXPLAINED: Mapping[int, type[TunewardError]] = {kind.exit_code: kind for kind in (DataError, ModelError, StorageError)}


@dataclass(frozen=True)
class SelfcheckResult:
    """What ``selfcheck`` measured.

    Attributes:
        holds: True when no statement failed.
        base: the base's name, or its folder.
        rows_from: id of the dataset whose rows were taken, or ``built-in conversations``.
        rows: ids of the rows.
        computed: number format and device in which everything was computed.
        lines: every statement, in order.
        seconds: how long all of it took.
        next: the command that comes next.
    """

    holds: bool
    base: str
    rows_from: str
    rows: tuple[str, ...]
    computed: str
    lines: tuple[Line, ...]
    seconds: float
    next: str


@dataclass(frozen=True)
class _Subject:
    """What is checked, and where may be written."""

    name: str
    base: Path
    rows: Path | None
    rows_from: str
    adapter: Mapping[str, Any] | None
    site: Site | None
    next: str


def selfcheck(folder: Path, *, base: Path | None = None, progress: Progress = SILENT) -> SelfcheckResult:
    """Prove the training core on a project's base and rows, or on any base.

    Rows are those of the project's current dataset, a few of them; without one, conversations that are built in.
    Nothing is stored.

    Args:
        folder: the project's folder; not looked at when ``base`` is given.
        base: a folder in transformers' format, checked with built-in conversations.
        progress: told after each statement.

    Raises:
        ConfigError: ``tuneward.yaml`` is missing or wrong.
        DataError: the dataset's rows cannot be used with the base.
        ModelError: the base is not pulled, or cannot be loaded.
        StorageError: there is no site, or no space.
        TrainingError: the process ended without a result.
    """
    began = time.monotonic()
    subject = _of_folder(base) if base is not None else _of_project(folder)
    lines: list[Line] = []

    def hear(event: Mapping[str, Any]) -> None:
        if event["event"] == "begin":
            progress.begin("checking", total=event["statements"], unit="statements")
        elif event["event"] == "line":
            line = Line.from_json({key: value for key, value in event.items() if key != "event"})
            lines.append(line)
            progress.advance()

    with _scratch(subject.site) as scratch:
        arguments = ["--base", str(subject.base), "--scratch", str(scratch)]
        arguments += ["--rows", str(subject.rows)] if subject.rows else []
        arguments += ["--adapter", json.dumps(subject.adapter)] if subject.adapter else []
        log = (subject.site.folder if subject.site and subject.site.writable else scratch) / "selfcheck.log"
        ended = follow(MODULE, arguments, log=log, hear=hear)
        progress.end()
    if ended.figures is None:
        cure = "run it again; out of memory shows as status -9"
        told = f"the self-check's process ended with status {ended.code}"
        faults = ended.faults or (Fault("TW-TRAIN-020", told, str(log) if log.exists() else MODULE, cure),)
        raise EXPLAINED.get(ended.code, TrainingError)(faults)
    holds = all(line.verdict != "fail" for line in lines)
    return SelfcheckResult(
        holds=holds,
        base=subject.name,
        rows_from=subject.rows_from,
        rows=tuple(ended.figures["rows"]),
        computed=f"fp32 on the CPU, {ended.figures['threads']} threads",
        lines=tuple(lines),
        seconds=round(time.monotonic() - began, 1),
        next=subject.next if holds else "",
    )


def _of_folder(base: Path) -> _Subject:
    if not base.is_dir():
        cure = "name a folder with config.json, tokenizer and safetensors, or stand in a project without `--base`"
        raise ModelError(Fault("TW-BASE-001", "is no folder", str(base), cure))
    return _Subject(str(base), base.resolve(), None, BUILT_IN, None, None, "")


def _of_project(folder: Path) -> _Subject:
    workspace = open_workspace(folder)
    road = survey(workspace)
    base, artifacts = require_base(workspace, road), workspace.site.artifacts
    rows = artifacts.tree(road.dataset.tree) / "train.jsonl" if road.dataset else None
    return _Subject(
        name=base.name,
        base=artifacts.tree(base.id),
        rows=rows,
        rows_from=road.dataset.id if road.dataset else BUILT_IN,
        adapter=workspace.project.training.adapter.canonical(),
        site=workspace.site,
        next="tuneward train" if road.dataset else "tuneward prepare",
    )


@contextmanager
def _scratch(site: Site | None) -> Iterator[Path]:
    """A folder that is gone at the end: the site's, since rows are written there; without one, the system's."""
    if site is not None and site.writable:
        with site.scratch() as folder:
            yield folder
        return
    with explained(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="tuneward-selfcheck-") as name:
        yield Path(name)
