"""Beside the road: a version becomes one model without adapter, for other programs; checked, or not handed out.

A copy is a new artefact with a lineage edge of its own: it is under no signature of the version it was made from, and
what makes it worth as much is its own check against base and adapter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

from tuneward import __version__
from tuneward.digests import digest_file
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.run import Run
from tuneward.domain.version import ModelVersion
from tuneward.errors import (
    ConfigError,
    EvaluationError,
    Fault,
    MachineError,
    ModelError,
    ProofError,
    StorageError,
    TunewardError,
)
from tuneward.evaluation.intervals import wilson
from tuneward.governance.audit import checkpoint
from tuneward.governance.change import change, permit
from tuneward.governance.consent import heed
from tuneward.licences import duties
from tuneward.modeling.licences import LICENCE_FILES
from tuneward.progress import SILENT, Progress
from tuneward.registry.export import Check, Paper, judge, read_paper
from tuneward.registry.notice import NoticeFacts, make_notice
from tuneward.registry.versions import NOTICE_FILE
from tuneward.storage.files import copy_hashing, explained, files_under
from tuneward.storage.lineage import Ref, children
from tuneward.storage.repository import find, latest, require
from tuneward.storage.staging import staging, sweep
from tuneward.workflows.child import follow
from tuneward.workflows.licence import decision_of, licence_in_force
from tuneward.workflows.pull import refuse_forbidden_use
from tuneward.workflows.road import survey
from tuneward.workflows.verify import check_registered
from tuneward.workflows.workspace import Workspace

Format = Literal["safetensors", "gguf"]
Type = Literal["bf16", "f16", "q8_0"]
DEFAULT_GGUF: Type = "f16"
WORK_PREFIX = ".tuneward-export-"
#: What the process says of a fault by its exit code.
EXPLAINED: Mapping[int, type[TunewardError]] = {kind.exit_code: kind for kind in (ModelError, StorageError)}


@dataclass(frozen=True)
class ExportResult:
    """What ``export`` did.

    Attributes:
        artifact: digest of the copy's tree in the artefact store.
        folder: where the copy lies: the folder that was asked for, else the store's own, which is only to be read.
        paper: what ``export.json`` beside the weights says: digests of base, adapter and version, and the check.
        reused: True when the same copy was there.
    """

    artifact: str
    folder: str
    paper: Mapping[str, Any]
    reused: bool


@dataclass(frozen=True)
class _Source:
    """What is exported: the newest version, or a finished run where nothing is registered yet."""

    version: ModelVersion | None
    run: Run
    base: Base
    dataset: Dataset
    adapter: str

    @property
    def noun(self) -> Ref:
        """What the copy is a child of, beside the adapter."""
        return Ref("version", self.version.id) if self.version else Ref("run", self.run.id)


def export(
    workspace: Workspace,
    *,
    format: Format = "safetensors",
    type: Type | None = None,
    to: Path | None = None,
    progress: Progress = SILENT,
) -> ExportResult:
    """Merge the registered version's adapter into its base, check the copy, and store it as an artefact.

    Where nothing is registered, the newest finished run is taken, and the paper names no version.

    Args:
        workspace: the project.
        format: ``safetensors`` (a folder for transformers) or ``gguf`` (one file for llama.cpp).
        type: of the weights; the base's own for safetensors, ``f16`` for GGUF when left out.
        to: a folder that does not exist yet or is empty, which receives the copy as well.
        progress: told of each part.

    Raises:
        ConfigError: a type that the format does not have.
        EvaluationError: the copy does not say what its adapter says; the figures; nothing is kept.
        ModelError: base, adapter or tokenizer cannot be written so; nothing is kept.
        ProofError: the version's chain does not hold.
        StorageError: the target is taken, or the disk is full; nothing is left at the target.
    """
    office, artifacts = workspace.office, workspace.site.artifacts
    permit(office, "version.export")
    if format == "safetensors" and type == "q8_0":
        message, cure = "safetensors has no q8_0", "add `--format gguf`, or choose bf16 or f16"
        raise ConfigError(Fault("TW-CONF-007", message, "--type", cure))
    type = type or (DEFAULT_GGUF if format == "gguf" else None)
    _refuse_taken(to)
    with workspace.site.lock("export"):
        source = _source(workspace)
        with workspace.site.database.read() as c:
            licence = licence_in_force(c, source.base)
        refuse_forbidden_use(licence, workspace.project.use)
        heed(office, *source.noun, action="version.export", what="what would be exported", say=progress.say)
        if source.version and (broken := check_registered(office, source.version)):
            raise ProofError(broken)
        paper = _paper(workspace, source, licence=licence, format=format, type=type)
        found = _earlier(workspace, source, paper)
        if found is None:
            tree = _make(workspace, source, paper, progress=progress)
        folder = artifacts.tree(found or tree)
        if to:
            progress.say(f"copying to {to}")
            _copy(folder, to)
    return ExportResult(found or tree, str(to.resolve() if to else folder), read_paper(folder), reused=bool(found))


def _refuse_taken(to: Path | None) -> None:
    if to is None:
        return
    try:
        taken = to.exists() and (not to.is_dir() or any(to.iterdir()))
    except OSError as error:
        cure = "name another folder"
        raise StorageError(Fault("TW-REG-012", error.strerror or "cannot be read", str(to), cure)) from None
    if taken:
        cure = "name a folder that does not exist yet"
        raise StorageError(Fault("TW-REG-012", "the target folder is not empty", str(to), cure))


def _source(workspace: Workspace) -> _Source:
    """The current version, else the newest; where none is registered, the current run, else the newest."""
    road, project = survey(workspace), workspace.project.project
    with workspace.site.database.read() as c:
        version = road.version or next(iter(find(c, ModelVersion, project=project, order="-number")), None)
        if version:
            run = require(c, Run, version.run)
            return _Source(
                version, run, require(c, Base, version.base), require(c, Dataset, version.dataset), version.adapter
            )
        newest = road.run or latest(c, Run, project=project, status="finished")
        if newest is None or newest.adapter is None:
            cure = "run `tuneward train`, or all steps with `tuneward run`"
            raise EvaluationError(Fault("TW-REG-011", "there is no version and no finished run", project, cure))
        return _Source(None, newest, require(c, Base, newest.base), require(c, Dataset, newest.dataset), newest.adapter)


def _paper(workspace: Workspace, source: _Source, *, licence: str, format: str, type: str | None) -> Paper:
    return Paper(
        project=workspace.project.project,
        version=source.version.id if source.version else None,
        number=source.version.number if source.version else None,
        run=source.run.id,
        adapter=source.adapter,
        base=source.base.id,
        base_name=source.base.name,
        licence=licence,
        dataset=source.dataset.fingerprint,
        format=format,
        type=type,
        tool_version=__version__,
        limits=workspace.project.export.canonical(),
    )


def _earlier(workspace: Workspace, source: _Source, paper: Paper) -> str | None:
    """Digest of a sound copy that answers the same request."""
    artifacts = workspace.site.artifacts
    with workspace.site.database.read() as c:
        made = [child.id for child in children(c, *source.noun) if child.kind == "export"]
    for digest in made:
        if not artifacts.check(digest) and paper.same_request(read_paper(artifacts.tree(digest))):
            return digest
    return None


def _make(workspace: Workspace, source: _Source, paper: Paper, *, progress: Progress) -> str:
    """Write, measure and judge a copy; store it and tell the log."""
    artifacts = workspace.site.artifacts
    with workspace.site.scratch() as scratch:
        into = scratch / "copy"
        into.mkdir()
        figures = _run(workspace, source, paper, into=into, progress=progress)
        interval = wilson(figures["same"], figures["tokens"])
        check = Check(**figures, interval=interval)
        faults = judge(check, workspace.project.export, place=f"{paper.format} {paper.type or 'as the base'}")
        tree = ""
        if not faults:
            _add_notice(workspace, source, paper, into)
            files = {name: digest_file(path) for name, path in files_under(into)}
            replace(paper, check=check, files=files).write(into)
            progress.say("storing the copy")
            tree = artifacts.put_tree(into)
    with change(workspace.office, "version.export", source.noun.id) as c:
        if faults:
            raise EvaluationError(faults)
        copy = Ref("export", tree)
        c.link(Ref("adapter", source.adapter), copy)
        c.link(source.noun, copy)
        c.note(export=tree, adapter=source.adapter, base=source.base.id, format=paper.format, type=paper.type)
    checkpoint(workspace.office)
    return tree


def _add_notice(workspace: Workspace, source: _Source, paper: Paper, into: Path) -> None:
    """Put the NOTICE beside the copy, and the base's own licence texts where it has some."""
    with workspace.site.database.read() as c:
        decision = decision_of(c, source.base.id)
    local = source.base.source.get("kind") in {"folder", "gguf"}
    facts = NoticeFacts(
        project=paper.project,
        number=paper.number,
        base=PurePath(source.base.name).name if local else source.base.name,
        base_digest=source.base.id,
        licence=paper.licence,
        stated=source.base.licence,
        decision=decision.id if decision else None,
        reason=decision.reason if decision else "",
        duties=duties(paper.licence, workspace.project.use),
        law=source.dataset.counts.get("law") or {},
    )
    (into / NOTICE_FILE).write_bytes(make_notice(facts))
    held = workspace.site.artifacts.tree(source.base.id)
    for name in LICENCE_FILES:
        if (held / name).is_file() and not (into / name).exists():
            copy_hashing(held / name, into / name)


def _run(workspace: Workspace, source: _Source, paper: Paper, *, into: Path, progress: Progress) -> Mapping[str, Any]:
    """Let the export process write the copy and measure it; returns its figures."""
    artifacts, limits = workspace.site.artifacts, workspace.project.export
    log = workspace.site.folder / "export.log"
    options = {
        "base": artifacts.tree(source.base.id),
        "adapter": artifacts.tree(source.adapter),
        "rows": artifacts.tree(source.dataset.tree) / "test.jsonl",
        "into": into,
        "scratch": into.parent,
        "format": paper.format,
        "precision": workspace.project.serving.precision,
        "most-rows": limits.rows,
        "most-tokens": limits.tokens,
        "name": f"{paper.project}-{paper.number}" if paper.number else paper.project,
        "licence": paper.licence,
        **({"type": paper.type} if paper.type else {}),
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]

    def hear(event: Mapping[str, Any]) -> None:
        if event["event"] == "begin":
            progress.begin(event["title"], total=event["total"], unit=event["unit"])
        elif event["event"] == "advance":
            progress.advance(event["amount"])
        elif event["event"] == "say":
            progress.say(event["text"])
        elif event["event"] == "end":
            progress.end()

    ended = follow("tuneward.modeling.export", arguments, log=log, hear=hear)
    if ended.figures is not None:
        return ended.figures
    if ended.faults:
        raise EXPLAINED.get(ended.code, MachineError)(ended.faults)
    cure = "read that log; out of memory shows as status -9"
    raise MachineError(Fault("TW-REG-013", f"the export process ended with status {ended.code}", str(log), cure))


def _copy(folder: Path, to: Path) -> None:
    """Bring the copy to the target in one move; nothing is left there or beside it when that fails."""
    to = to.absolute()
    with explained(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        sweep(to.parent, prefix=WORK_PREFIX)
    with staging(to.parent, prefix=WORK_PREFIX) as work:
        for name, path in files_under(folder):
            target = work / "copy" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_hashing(path, target)
        (work / "copy").replace(to)
