"""Any time after ``prepare``: look at rows as the model will read and learn them, and at how long they are.

Place on the road: between ``prepare`` and ``train``. It reads governed rows, so a role must permit it (the action
``dataset.show``); it changes nothing. Redacted text is shown as it is stored: what was taken out is nowhere.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuneward.data.census import Census, take_census
from tuneward.data.parts import parts_of
from tuneward.data.prepared import read_records
from tuneward.data.row_proof import check_row_proof
from tuneward.data.row_proof import prove_row as prove
from tuneward.data.stored import stored_findings, stored_rows
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.record import Form, Message, Record, Split
from tuneward.errors import ConfigError, DataError, Fault
from tuneward.governance.change import permit
from tuneward.modeling.chat import Chat
from tuneward.modeling.masks import Piece, pieces_of
from tuneward.progress import SILENT, Progress
from tuneward.storage.repository import find
from tuneward.workflows.prepare import require_base
from tuneward.workflows.road import survey
from tuneward.workflows.train import require_dataset
from tuneward.workflows.workspace import Workspace


@dataclass(frozen=True)
class ShownRow:
    """A prepared row.

    Attributes:
        id: the record's id.
        split: ``train`` or ``test``.
        source: file and line where it was read.
        form: ``conversation``, ``pair``, ``judged`` or ``document``.
        tokens: tokens that pass through the model.
        learned: tokens that the loss counts.
        messages: the conversation, the better answer of a pair last.
        rejected: the worse answer of a pair, or None.
        desirable: the verdict on a judged answer, or None.
        margin: by how much the better answer is better, or None.
        tools: JSON text of the tools that may be called, or None.
        pieces: the row as the model reads it, in runs of tokens that are learned or not.
    """

    id: str
    split: Split
    source: str
    form: Form
    tokens: int
    learned: int
    messages: tuple[Message, ...]
    rejected: Message | None
    desirable: bool | None
    margin: float | None
    tools: str | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class RowsShown:
    """Rows of the current dataset.

    Attributes:
        dataset: the dataset's id.
        rows: the rows.
        of: how many rows there are to choose from: those of the split that the filters leave.
        loss_on: which tokens of conversations are learned: those of ``answers``, or ``all``.
        next: the command that comes next.
    """

    dataset: str
    rows: tuple[ShownRow, ...]
    of: int
    loss_on: str
    next: str = "tuneward data lengths"


@dataclass(frozen=True)
class LengthsResult:
    """How long the rows of the current dataset are.

    Attributes:
        dataset: the dataset's id.
        context_tokens: the base's context.
        too_long: what ``prepare`` does with longer rows.
        train: census of the training rows, or None where there are none.
        test: census of the test rows, or None where there are none.
        next: the command that comes next.
    """

    dataset: str
    context_tokens: int
    too_long: str
    train: Census | None
    test: Census | None
    next: str = "tuneward status"


@dataclass(frozen=True)
class RowFilter:
    """Which rows are shown; what is None filters nothing.

    Attributes:
        finding: kind of finding that the row has.
        file: the file that the row was read from.
        containing: words that stand in one of its texts, in any case of letters; never logged.
    """

    finding: str | None = None
    file: str | None = None
    containing: str | None = None

    def takes(self, record: Record, found: Set[str]) -> bool:
        """Whether it leaves a row; ``found`` holds the ids of rows with the finding."""
        if self.finding is not None and record.id not in found:
            return False
        if self.file is not None and record.source.path != self.file:
            return False
        if self.containing is None:
            return True
        words = self.containing.casefold()
        return any(words in part.text.casefold() for part in parts_of(record))


@dataclass(frozen=True)
class RowProven:
    """That a dataset holds a row.

    Attributes:
        proof: record, dataset, fingerprint, the row's keyed digest, its place, and the path through the Merkle tree.
        next: the command that comes next.
    """

    proof: Mapping[str, Any]
    next: str = "tuneward data check-proof FILE"


def show_rows(
    workspace: Workspace,
    *,
    split: Split = "train",
    rows: int = 3,
    record: str | None = None,
    only: RowFilter | None = None,
) -> RowsShown:
    """Rows of the current dataset, with the tokens that are learned told from the others.

    Args:
        workspace: the project.
        split: which rows.
        rows: how many, from the first on.
        record: the id of one row of either split; ``split``, ``rows`` and ``only`` do not count then.
        only: which rows of the split; all when None.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        DataError: there is no current dataset.
        ConfigError: the dataset has no row of that id.
    """
    base, dataset = _permitted(workspace)
    training = workspace.project.training
    loss_on: Literal["answers", "all"] = "all" if training.method == "pretrain" else training.loss_on
    chat = Chat.load(workspace.site.artifacts.tree(base.id))
    folder = workspace.site.artifacts.tree(dataset.tree)
    if record is None:
        chosen, of = _filtered(folder, split, rows, only or RowFilter())
    else:
        chosen = [row for part in ("train", "test") for row in stored_rows(folder, part) if row.id == record]
        if not chosen:
            cure = "take an id from `tuneward data show --json`, or one that a fault names"
            raise ConfigError(Fault("TW-CONF-007", f"{dataset.id} has no row {record!r}", "--id", cure))
        of = dataset.train_rows if chosen[0].split == "train" else dataset.test_rows
    return RowsShown(
        dataset=dataset.id,
        rows=tuple(_shown(row, pieces_of(chat, row, loss_on=loss_on)) for row in chosen),
        of=of,
        loss_on=loss_on,
    )


def _filtered(folder: Path, split: Split, most: int, only: RowFilter) -> tuple[list[Record], int]:
    """The first rows that the filter leaves, and how many it leaves."""
    found: Set[str] = frozenset()
    if only.finding is not None:
        found = {item["record"] for item in stored_findings(folder) if item["kind"] == only.finding}
    chosen: list[Record] = []
    count = 0
    for row in stored_rows(folder, split):
        if only.takes(row, found):
            count += 1
            if len(chosen) < most:
                chosen.append(row)
    return chosen, count


def prove_row(workspace: Workspace, record: str) -> RowProven:
    """Proof that the current dataset holds a row: offline, without any other row.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        DataError: there is no current dataset, or no such row in it.
        ProofError: the dataset's rows do not give its fingerprint.
    """
    _, dataset = _permitted(workspace)
    with workspace.site.database.read() as c:
        entries = [
            entry
            for split in ("train", "test")
            for entry in find(c, RecordEntry, dataset=dataset.id, split=split, order="position")
        ]
    index = next((place for place, entry in enumerate(entries) if entry.id == record), None)
    if index is None:
        cure = "take an id from `tuneward data show --json`"
        raise DataError(Fault("TW-DATA-091", f"{dataset.id} has no such row", record[:60], cure))
    proof = prove(
        record,
        dataset=dataset.id,
        fingerprint=dataset.fingerprint,
        digests=[entry.digest for entry in entries],
        index=index,
    )
    return RowProven(check_row_proof(proof.to_json(), fingerprint=dataset.fingerprint).to_json())


def measure_rows(workspace: Workspace, *, progress: Progress = SILENT) -> LengthsResult:
    """Measure every row of the current dataset in tokens of the project's base.

    Raises:
        GovernanceError: the actor may not see rows; the refusal is logged.
        DataError: there is no current dataset.
    """
    base, dataset = _permitted(workspace)
    chat = Chat.load(workspace.site.artifacts.tree(base.id))
    progress.begin("measuring rows in tokens", total=dataset.train_rows + dataset.test_rows, unit="rows")
    train, test = (
        take_census(chat, _records(workspace, dataset, split), context_tokens=base.context_tokens, progress=progress)
        for split in ("train", "test")
    )
    progress.end()
    return LengthsResult(
        dataset=dataset.id,
        context_tokens=base.context_tokens,
        too_long=workspace.project.data.too_long,
        train=train,
        test=test,
    )


def _permitted(workspace: Workspace) -> tuple[Base, Dataset]:
    permit(workspace.office, "dataset.show")
    road = survey(workspace)
    return require_base(workspace, road), require_dataset(road)


def _records(workspace: Workspace, dataset: Dataset, split: str) -> list[Record]:
    return read_records(workspace.site.artifacts.tree(dataset.tree) / f"{split}.jsonl")


def _shown(record: Record, pieces: tuple[Piece, ...]) -> ShownRow:
    return ShownRow(
        id=record.id,
        split=record.split,
        source=str(record.source),
        form=record.form,
        tokens=sum(piece.tokens for piece in pieces),
        learned=sum(piece.tokens for piece in pieces if piece.learned),
        messages=record.messages,
        rejected=record.rejected,
        desirable=record.desirable,
        margin=record.margin,
        tools=record.tools,
        pieces=pieces,
    )
