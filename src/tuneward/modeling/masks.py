"""Masks: a record as the pieces of text that a model reads, and which of them it learns.

Place on the road: beside ``chat``; what ``tuneward data show --masks`` prints. It asks ``chat`` for the same ids and
labels as training does, so that what is shown is what is trained. Knows no colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from tuneward.domain.record import Record
from tuneward.modeling.chat import IGNORED, Chat

Branch = Literal["", "chosen", "rejected"]


@dataclass(frozen=True)
class Piece:
    """Tokens in a row that are treated alike.

    Attributes:
        text: what they say.
        tokens: how many they are.
        learned: whether the loss counts them.
        control: whether they are control tokens of the tokenizer.
        branch: ``chosen`` or ``rejected`` for the answers of a pair, else empty.
    """

    text: str
    tokens: int
    learned: bool
    control: bool
    branch: Branch = ""


def pieces_of(chat: Chat, record: Record, *, loss_on: Literal["answers", "all"]) -> tuple[Piece, ...]:
    """The record's pieces in order, of a pair the prompt once, then the better and the worse answer.

    Law: the tokens of all pieces are those that pass through the model, and the learned ones those that it learns.

    Raises:
        ModelError: the template or the tokenizer refuses the record.
    """
    if record.rejected is not None:
        prompt, chosen, rejected = chat.pair(record.prompt, record.messages[-1], record.rejected, tools=record.tools)
        masked = [IGNORED] * len(prompt)
        return (
            *_pieces(chat, prompt, masked),
            *_pieces(chat, chosen, chosen, branch="chosen"),
            *_pieces(chat, rejected, rejected, branch="rejected"),
        )
    if record.form == "document":
        whole = chat.document(record.answer)
        return tuple(_pieces(chat, whole.ids, whole.labels))
    example = chat.example(record.messages, loss_on=loss_on, tools=record.tools)
    labels: Sequence[int] = example.labels
    if record.desirable is not None:  # the last answer alone is judged
        start = len(chat.prompt_ids(record.prompt, tools=record.tools))
        labels = [IGNORED] * start + list(example.ids[start:])
    return tuple(_pieces(chat, example.ids, labels))


def _pieces(chat: Chat, ids: Sequence[int], labels: Sequence[int], *, branch: Branch = "") -> list[Piece]:
    marked = [(label != IGNORED, number in chat.control_ids, number) for number, label in zip(ids, labels, strict=True)]
    pieces = []
    for (learned, control), group in groupby(marked, key=lambda mark: mark[:2]):
        run = [number for _, _, number in group]
        pieces.append(Piece(chat.decode(run, control=True), len(run), learned, control, branch))
    return pieces
