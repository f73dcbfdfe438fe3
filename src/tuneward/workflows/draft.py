"""Beside the road: documents become drafts of questions and answers, written by a local model that the user names.

Place on the road: before ``prepare``. Drafts lie in the site and train nothing; ``review`` is where a person decides.
The model runs in the engine on this machine, and nothing else is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneward.data.config import DataConfig
from tuneward.data.drafts import (
    Draft,
    Passage,
    draft_from,
    draft_id,
    drafts_text,
    passages_of,
    question_about,
    read_drafts,
)
from tuneward.data.faults import Faults
from tuneward.data.files import find_files
from tuneward.domain.base import Base
from tuneward.errors import Fault, ModelError
from tuneward.governance.change import change, permit
from tuneward.progress import SILENT, Progress
from tuneward.serving.foundation import Foundation
from tuneward.serving.router import BASE_NAME
from tuneward.storage.files import explained, write_atomically
from tuneward.workflows.bases import base_named
from tuneward.workflows.engine import open_engine
from tuneward.workflows.pull import refuse_forbidden_use
from tuneward.workflows.workspace import Workspace

#: So many passages are asked about before their drafts are stored; a stop loses no more.
_BATCH = 32


@dataclass(frozen=True)
class DraftResult:
    """What was drafted.

    Attributes:
        base: name of the model that wrote.
        passages: passages of the documents.
        known: those that it had written about before.
        drafted: new drafts, which wait for a person.
        unusable: passages whose answer had not the form that was asked for, or no end; they are asked again next time.
        waiting: all drafts of the project that wait.
        next: the command that comes next.
    """

    base: str
    passages: int
    known: int
    drafted: int
    unusable: int
    waiting: int
    next: str = "tuneward data review"


def draft(
    workspace: Workspace, files: Sequence[str], *, model: str, max_tokens: int = 200, progress: Progress = SILENT
) -> DraftResult:
    """Let a model write a question and an answer about every passage of documents.

    Args:
        workspace: the project.
        files: documents and folders of them, written like ``data.train``.
        model: a base that the site has, by the name it was pulled under.
        max_tokens: the longest answer of the model.
        progress: told of every passage.

    Raises:
        GovernanceError: the actor may not draft; the refusal is logged.
        DataError: documents that cannot be read, every fault at once.
        ModelError: the site has no such base, or its licence forbids the use.
        ServingError: the engine cannot start, or fails on a passage; what was drafted before is kept.
    """
    permit(workspace.office, "draft.create")
    base = _base(workspace, model)
    refuse_forbidden_use(base.licence, workspace.project.use)
    passages = _passages(workspace, files)
    path = drafts_path(workspace)
    with workspace.site.lock("drafts"):
        drafts = read_drafts(path)
        written = {item.id for item in drafts}
        asked = [passage for passage in passages if draft_id(passage, base.id) not in written]
        made: list[Draft] = []
        if asked:
            with open_engine(workspace, Foundation(base.id)) as (client, _):
                for begin in range(0, len(asked), _BATCH):
                    batch = asked[begin : begin + _BATCH]
                    prompts = [question_about(passage) for passage in batch]
                    title = f"drafts {begin + 1:,} to {begin + len(batch):,} of {len(asked):,}"
                    answers = client.answers(BASE_NAME, prompts, max_tokens=max_tokens, progress=progress, title=title)
                    whole = [(a, p) for a, p in zip(answers, batch, strict=True) if a.finish_reason == "stop"]
                    made += [item for a, p in whole if (item := draft_from(a.text, p, base.id))]
                    store_drafts(workspace, [*drafts, *made])
        with change(workspace.office, "draft.create", base.id) as c:
            c.note(
                documents=sorted({passage.file_digest for passage in passages}),
                passages=len(passages),
                drafted=len(made),
                unusable=len(asked) - len(made),
            )
    return DraftResult(
        base=base.name,
        passages=len(passages),
        known=len(passages) - len(asked),
        drafted=len(made),
        unusable=len(asked) - len(made),
        waiting=sum(item.status == "draft" for item in [*drafts, *made]),
    )


def drafts_path(workspace: Workspace) -> Path:
    """Where the site keeps the project's drafts."""
    return workspace.site.folder / "drafts" / f"{workspace.project.project}.jsonl"


def store_drafts(workspace: Workspace, drafts: Sequence[Draft]) -> None:
    """Write all drafts of the project.

    Raises:
        StorageError: they cannot be written; the earlier file is left then.
    """
    path = drafts_path(workspace)
    with explained(path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(path, drafts_text(drafts), mode=0o600)


def _base(workspace: Workspace, model: str) -> Base:
    with workspace.site.database.read() as c:
        base = base_named(c, workspace.site, model, workspace.folder)
    if base is None:
        raise ModelError(Fault("TW-BASE-050", f"the model {model!r} is not in this site", "--model", "pull it first"))
    return base


def _passages(workspace: Workspace, files: Sequence[str]) -> list[Passage]:
    faults = Faults()
    config = workspace.project.data.model_copy(update={"train": tuple(files), "test": ()})
    assert isinstance(config, DataConfig)
    found = find_files(config, project_folder=workspace.folder, faults=faults)
    passages = [passage for file in found for passage in passages_of(file, faults)]
    faults.raise_if_any()
    return passages
