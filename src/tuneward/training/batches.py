"""Batches: from prepared records to packed windows of whole documents, in an order that the seed fixes.

Place on the road: after ``data`` (``train.jsonl``), before the loop. A *row* is one record as token ids and labels; a
*window* is what passes through the model at once; a *step* is the windows of one optimizer step. The course of a run
is a pure function of the rows' lengths, the settings and the seed, so a number of steps done is a full cursor.
Knows no model and no loss.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from tuneward.digests import digest_bytes
from tuneward.domain.record import Message, Record
from tuneward.errors import DataError, Fault, TunewardError
from tuneward.modeling.packed import PackedDocuments

IGNORED = -100
MOST_FAULTS = 20


class TokenizedExample(Protocol):
    """What :class:`Examples` returns: ids, and labels of the same length with -100 where nothing is learned."""

    @property
    def ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def labels(self) -> tuple[int, ...]: ...  # noqa: D102


class Examples(Protocol):
    """Turns conversations into token ids; ``modeling.chat.Chat`` does."""

    def example(self, messages: Sequence[Message], *, loss_on: Literal["answers", "all"]) -> TokenizedExample:
        """Token ids of a conversation, and which of them are learned."""
        ...


@dataclass(frozen=True, eq=False)
class Row:
    """One record, tokenised.

    Attributes:
        id: the record's id.
        ids: (tokens,) int32.
        labels: (tokens,) int32; ``labels[t]`` is ``ids[t]`` where that token is learned, else -100.
    """

    id: str
    ids: np.ndarray
    labels: np.ndarray

    @property
    def trained(self) -> int:
        """Number of learned tokens; a document's first token has nothing before it to be predicted from."""
        return int((self.labels[1:] != IGNORED).sum())


def read_rows(
    path: Path, chat: Examples, *, loss_on: Literal["answers", "all"], context_tokens: int, vocabulary: int
) -> list[Row]:
    """Read ``train.jsonl`` and tokenise it.

    Args:
        path: one record per line, as ``Record.to_json`` writes it.
        chat: the base model's tokenizer and template.
        loss_on: which tokens are learned.
        context_tokens: longest document that the model was made for.
        vocabulary: rows of the model's embedding.

    Raises:
        DataError: unreadable lines, rows without a learned token, too long rows, ids outside the vocabulary; all
            faults (the first 20 and a count), rows named by id or line.
    """
    rows, faults = [], []
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            Fault("TW-TRAIN-001", type(error).__name__, str(path), "run `tuneward prepare` again")
        ) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = Record.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):
            told = "the line is no prepared record"
            faults.append(Fault("TW-TRAIN-001", told, f"{path.name}:{number}", "run `tuneward prepare` again"))
            continue
        try:
            example = chat.example(record.messages, loss_on=loss_on)
        except TunewardError as error:
            faults.extend(error.faults)
            continue
        row = Row(record.id, np.asarray(example.ids, dtype=np.int32), np.asarray(example.labels, dtype=np.int32))
        fault = _fault(row, context_tokens, vocabulary)
        if fault is None:
            rows.append(row)
        else:
            faults.append(fault)
    if not rows and not faults:
        faults.append(Fault("TW-TRAIN-002", "no row to train on", str(path), "prepare a dataset with training rows"))
    if len(faults) > MOST_FAULTS:
        rest = len(faults) - MOST_FAULTS
        faults = [*faults[:MOST_FAULTS], Fault("TW-TRAIN-001", f"and {rest} more faults like these", path.name)]
    if faults:
        raise DataError(faults)
    return rows


def _fault(row: Row, context_tokens: int, vocabulary: int) -> Fault | None:
    if row.ids.size and int(row.ids.max()) >= vocabulary:
        told = f"token id {int(row.ids.max())} is outside the model's vocabulary of {vocabulary}"
        return Fault("TW-TRAIN-005", told, row.id, "use the tokenizer that belongs to the base")
    if row.trained == 0:
        return Fault("TW-TRAIN-003", "no token of the row is trained", row.id, "drop the row, or check its answer")
    if row.ids.size > context_tokens:
        told = f"{row.ids.size} tokens exceed the context of {context_tokens}"
        return Fault("TW-TRAIN-004", told, row.id, "set data.too_long, or choose a base with a longer context")
    return None


@dataclass(frozen=True)
class Step:
    """The rows of one optimizer step.

    Attributes:
        windows: indices of the rows, window by window.
        tokens: tokens of all windows.
        trained: learned tokens of all windows: what the step's loss is divided by.
    """

    windows: tuple[tuple[int, ...], ...]
    tokens: int
    trained: int


def plan_steps(rows: Sequence[Row], *, epochs: float, batch_tokens: int, window_tokens: int, seed: int) -> list[Step]:
    """The whole course of a run: whole rows, each epoch in an order of its own, none cut and none left out.

    A step takes rows as long as they fit into ``batch_tokens``, a window likewise; a row longer than either has one to
    itself. An epoch's last step is as short as what is left.
    """
    sizes, trained = [row.ids.size for row in rows], [row.trained for row in rows]
    steps = []
    for order in _orders(len(rows), epochs, seed):
        for batch in _fill(order, sizes, batch_tokens):
            windows = tuple(tuple(window) for window in _fill(batch, sizes, window_tokens))
            steps.append(Step(windows, sum(sizes[i] for i in batch), sum(trained[i] for i in batch)))
    return steps


def _orders(rows: int, epochs: float, seed: int) -> Iterator[list[int]]:
    """The rows' order in each epoch; the last may hold fewer."""
    left = math.ceil(rows * epochs - 1e-9)
    epoch = 0
    while left > 0:
        # by digest and not by a generator: no library's next version may change what a seed means
        order = sorted(range(rows), key=lambda index: digest_bytes(f"{seed}/{epoch}/{index}".encode()))
        yield order[:left]
        left -= rows
        epoch += 1


def _fill(order: Sequence[int], sizes: Sequence[int], room: int) -> Iterator[list[int]]:
    batch: list[int] = []
    used = 0
    for index in order:
        if batch and used + sizes[index] > room:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += sizes[index]
    if batch:
        yield batch


@dataclass(frozen=True, eq=False)
class Window:
    """Packed documents, ready for the model.

    Attributes:
        ids: (1, tokens) int64.
        layout: who sees whom.
        places: (trained,) int64: positions whose next token is learned.
        targets: (trained,) int64: that next token.
        records: ids of the records inside.
    """

    ids: Tensor
    layout: PackedDocuments
    places: Tensor
    targets: Tensor
    records: tuple[str, ...]

    @classmethod
    def pack(cls, rows: Sequence[Row], *, device: str = "cpu") -> "Window":
        """Lay ``rows`` one after another; the last token of a row predicts nothing."""
        following = [np.append(row.labels[1:], np.int32(IGNORED)) for row in rows]
        labels = torch.from_numpy(np.concatenate(following).astype(np.int64))
        ids = torch.from_numpy(np.concatenate([row.ids for row in rows]).astype(np.int64))
        places = torch.nonzero(labels != IGNORED).flatten()
        return cls(
            ids=ids.unsqueeze(0).to(device),
            layout=PackedDocuments(tuple(row.ids.size for row in rows)),
            places=places.to(device),
            targets=labels[places].to(device),
            records=tuple(row.id for row in rows),
        )
