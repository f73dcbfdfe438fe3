"""Agreement: how far an exported copy says what base and adapter say, on held-out answers.

Place on the road: the last part of an export, before anybody may have the copy. The reference is the base with the
adapter beside it, as the engine serves it and in the engine's precision. Compared are the distributions of the next
token at every token of an answer: KL(reference ‖ copy) in nats, and whether both put the same token first. Measures
only; what is too much is said elsewhere.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneward.domain.record import Record
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.base_model import OutputHead, Precision, hidden_states, load_base
from tuneward.modeling.chat import IGNORED, Chat, Example
from tuneward.modeling.packed import PackedDocuments

Told = Callable[[int], None]  # rows that are done


@dataclass(frozen=True)
class HeldOut:
    """One held-out conversation.

    Attributes:
        ids: its tokens.
        marks: positions whose next token is part of an answer.
        text: the ids as text, control tokens included.
    """

    ids: tuple[int, ...]
    marks: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Agreement:
    """Figures over all answer tokens.

    Attributes:
        rows: conversations.
        tokens: answer tokens.
        same: tokens at which both put the same one first.
        mean_kl: mean of KL(reference ‖ copy), in nats.
        max_kl: the largest.
    """

    rows: int
    tokens: int
    same: int
    mean_kl: float
    max_kl: float


def held_out(file: Path, chat: Chat, *, rows: int, tokens: int, context: int) -> list[HeldOut]:
    """The first conversations of a prepared dataset's file that fit the limits.

    Args:
        file: ``test.jsonl``.
        chat: of the base.
        rows: most conversations.
        tokens: answer tokens after which no more conversations are taken.
        context: longest conversation, in tokens.
    """
    chosen: list[HeldOut] = []
    with file.open("rb") as handle:
        for line in handle:
            if len(chosen) == rows or sum(len(row.marks) for row in chosen) >= tokens:
                break
            example = _example(chat, Record.from_json(json.loads(line)))
            marks = tuple(place - 1 for place, label in enumerate(example.labels) if place and label != IGNORED)
            if len(example.ids) <= context:
                chosen.append(HeldOut(example.ids, marks, chat.decode(example.ids, control=True)))
    return chosen


def _example(chat: Chat, record: Record) -> Example:
    """A row as it was trained: a passage whole, of a conversation the answers, of a pair the better one."""
    if record.messages[0].role == "document":
        return chat.document(record.messages[0].content)
    return chat.example(record.messages, tools=record.tools)


def keep_reference(
    base: Path,
    weights: AdapterWeights | None,
    rows: Sequence[HeldOut],
    file: Path,
    *,
    precision: Precision,
    device: str = "cpu",
    told: Told = lambda rows: None,
) -> None:
    """Write what base and adapter (or a fully trained model alone) say at every mark: fp32 logits, row after row.

    Raises:
        ModelError: the base cannot be loaded, or the adapter does not fit it.
        OSError: the disk refuses to write.
    """
    model = load_base(base, precision=precision, device=device)
    bank = AdapterBank(model)
    adapter = bank.load(weights) if weights else None
    with file.open("xb") as out:
        for row in rows:
            bank.assign([(adapter, len(row.ids))])
            out.write(_logits(model, row).numpy().data)
            told(1)


def through_transformers(
    folder: Path, rows: Sequence[HeldOut], *, precision: Precision, device: str = "cpu"
) -> Iterator[Tensor]:
    """What the model in ``folder`` says at every mark: (marks, vocabulary), fp32, a tensor for each row."""
    model = load_base(folder, precision=precision, device=device)
    for row in rows:
        yield _logits(model, row)


def compare(
    rows: Sequence[HeldOut], reference: Path, said: Iterable[Tensor], *, told: Told = lambda rows: None
) -> Agreement:
    """Figures of a copy against the kept reference.

    Args:
        rows: those of the reference.
        reference: the file of :func:`keep_reference`.
        said: the copy's logits (marks, vocabulary), row after row.
        told: hears of each row.
    """
    divergence: list[Tensor] = []
    same = 0
    with reference.open("rb") as handle:
        for row, theirs in zip(rows, said, strict=True):
            buffer = bytearray(handle.read(4 * len(row.marks) * theirs.shape[1]))
            ours = torch.frombuffer(buffer, dtype=torch.float32).view(len(row.marks), -1)  # (marks, vocabulary)
            log_p, log_q = ours.double().log_softmax(-1), theirs.double().log_softmax(-1)  # small differences count
            divergence.append((log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0))
            same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
            told(1)
    kl = torch.cat(divergence)
    return Agreement(len(rows), kl.numel(), same, float(kl.mean()), float(kl.max()))


@torch.inference_mode()
def _logits(model: PreTrainedModel, row: HeldOut) -> Tensor:
    ids = torch.tensor([row.ids], device=model.device)
    hidden: Any = hidden_states(model, ids, PackedDocuments((len(row.ids),)))
    return OutputHead.of(model).logits(hidden[0, list(row.marks)]).float().cpu()
