"""Lengths: every row is rendered and tokenised as training and evaluation will do it, and none is cut silently.

Place on the road: ``data.overlap`` → here → ``data.dataset``. A row that does not fit the context is refused, dropped
or split at a turn's border, as ``too_long`` says; so is a test row whose prompt leaves no room for the longest answer
that the evaluation asks for. A row from which nothing could be learned is refused.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tuneward.data.config import TooLong
from tuneward.data.faults import Faults
from tuneward.data.records import record_id
from tuneward.domain.record import Message, Record
from tuneward.errors import Fault, ModelError
from tuneward.progress import Progress

_NAMED_ROWS = 20


class Tokens(Protocol):
    """A rendered row: token ids, and labels that are -100 wherever nothing is learned."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids of the whole conversation."""

    @property
    def labels(self) -> tuple[int, ...]:
        """As many labels as ids."""


class ChatTemplate(Protocol):
    """What is needed of ``modeling.chat.Chat``."""

    def example(self, messages: Sequence[Message], /) -> Tokens:
        """Render and tokenise a conversation as training does."""

    def prompt_ids(self, messages: Sequence[Message], /) -> Sequence[int]:
        """Token ids of a prompt as the engine makes them, up to where the answer begins."""


@dataclass
class Lengths:
    """Rows that fit, and what became of the others.

    Attributes:
        kept: rows that fit, pieces of split ones in their place.
        tokens: tokens of each kept row.
        answer_tokens: tokens of each kept row that are learned.
        dropped: rows left out because they are too long.
        split: rows that were split, and into how many pieces.
        lost_turns: turns (question and answer) too long for any piece, left out of split rows.
        longest_question: tokens of the longest prompt among kept test rows, as the engine makes them.
    """

    kept: list[Record] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    answer_tokens: list[int] = field(default_factory=list)
    dropped: list[Record] = field(default_factory=list)
    split: list[tuple[Record, int]] = field(default_factory=list)
    lost_turns: int = 0
    longest_question: int = 0

    def keep(self, record: Record, tokens: Tokens, *, question: int = 0) -> None:
        """Take a row that fits; ``question`` is the tokens of a test row's prompt."""
        self.longest_question = max(self.longest_question, question)
        self.kept.append(record)
        self.tokens.append(len(tokens.ids))
        self.answer_tokens.append(len(tokens.labels) - tokens.labels.count(-100))


@dataclass(frozen=True)
class Ruler:
    """Measures rows against a context.

    Attributes:
        chat: renders and tokenises.
        context_tokens: the longest row that fits.
        engine_tokens: the longest prompt and answer that the engine takes together; not less than ``context_tokens``.
        answer_tokens: the longest answer that the evaluation asks for.
        too_long: what happens to longer ones; test rows are never split, since that would change the question.
        record_key: names the pieces of split rows.
        faults: receives rows that are refused.
    """

    chat: ChatTemplate
    context_tokens: int
    engine_tokens: int
    answer_tokens: int
    too_long: TooLong
    record_key: bytes
    faults: Faults

    def measure(self, records: Sequence[Record], *, progress: Progress) -> Lengths:
        """Tokenise ``records`` and keep what fits.

        Raises:
            ModelError: when the template renders no row at all; the fault is the template's.
        """
        result = Lengths()
        unrendered: list[tuple[Record, ModelError]] = []
        too_long: list[tuple[Record, int]] = []
        no_room: list[tuple[Record, int]] = []
        most = self.engine_tokens - self.answer_tokens
        for record in records:
            progress.advance()
            try:
                tokens = self.chat.example(record.messages)
                question = len(self.chat.prompt_ids(record.prompt)) if record.split == "test" else 0
            except ModelError as error:
                unrendered.append((record, error))
                continue
            if tokens.labels.count(-100) == len(tokens.labels):
                self._refuse_masked(record)
            elif len(tokens.ids) <= self.context_tokens and (not question or question <= most):
                result.keep(record, tokens, question=question)
            elif self.too_long == "refuse":
                if len(tokens.ids) > self.context_tokens:
                    too_long.append((record, len(tokens.ids)))
                else:
                    no_room.append((record, question + self.answer_tokens))
            elif self.too_long == "drop" or record.split == "test":
                result.dropped.append(record)
            else:
                self._split(record, result)
        if unrendered and len(unrendered) == len(records):
            raise unrendered[0][1]
        for record, failure in unrendered:
            self._refuse_unrendered(record, failure.faults[0])
        if too_long:
            self._refuse_too_long(too_long)
        if no_room:
            self._refuse_no_room(no_room)
        return result

    def _split(self, record: Record, result: Lengths) -> None:
        """Cut between turns into the fewest pieces that fit, each with the system message."""
        head = record.messages[:1] if record.messages[0].role == "system" else ()
        rest = record.messages[len(head) :]
        turns = [rest[i : i + 2] for i in range(0, len(rest), 2)]
        pieces: list[tuple[tuple[Message, ...], Tokens]] = []
        current: tuple[Message, ...] = ()
        lost = 0
        for turn in turns:
            tokens = self.chat.example((*head, *current, *turn)) if current else None
            if tokens and len(tokens.ids) <= self.context_tokens:
                current += turn
                pieces[-1] = ((*head, *current), tokens)
                continue
            tokens = self.chat.example((*head, *turn))
            if len(tokens.ids) <= self.context_tokens and tokens.labels.count(-100) < len(tokens.labels):
                current = turn
                pieces.append(((*head, *turn), tokens))
            else:
                current = ()
                lost += 1
        if not pieces:
            result.dropped.append(record)
            return
        result.split.append((record, len(pieces)))
        result.lost_turns += lost
        for number, (messages, tokens) in enumerate(pieces):
            key = self.record_key
            name = record_id(messages, source=record.source, split=record.split, key=key, part=number)
            result.keep(dataclasses.replace(record, id=name, messages=messages), tokens)

    def _refuse_masked(self, record: Record) -> None:
        cure = "check that the answer holds more than the template's own tokens, or delete the row"
        self.faults.add("TW-DATA-022", "no token of the answer is learned", place=str(record.source), cure=cure)

    def _refuse_unrendered(self, record: Record, fault: Fault) -> None:
        cure = fault.cure or "check that the template takes these roles"
        self.faults.add("TW-DATA-023", fault.message, place=str(record.source), cure=cure)

    def _refuse_too_long(self, rows: list[tuple[Record, int]]) -> None:
        longest, tokens = max(rows, key=lambda row: row[1])
        split = "train" if rows[0][0].split == "train" else "test"
        self.faults.add(
            "TW-DATA-021",
            f"{len(rows):,} {split} rows have more than {self.context_tokens:,} tokens, the longest {tokens:,} "
            f"({longest.source}): {_named(rows)}",
            place=str(longest.source),
            cure="shorten them, or set `data.too_long` to `drop` or `split`; nothing is ever cut silently",
        )

    def _refuse_no_room(self, rows: list[tuple[Record, int]]) -> None:
        longest, tokens = max(rows, key=lambda row: row[1])
        self.faults.add(
            "TW-DATA-021",
            f"{len(rows):,} test rows need more than {self.engine_tokens:,} tokens for the prompt and an answer of "
            f"{self.answer_tokens:,}, the longest {tokens:,} ({longest.source}): {_named(rows)}",
            place=str(longest.source),
            cure="lower `evaluation.task.max_tokens`, shorten them, or set `data.too_long` to `drop`",
        )


def _named(rows: list[tuple[Record, int]]) -> str:
    """The first rows with their tokens, and how many more there are."""
    named = ", ".join(f"{record.source} ({count:,})" for record, count in rows[:_NAMED_ROWS])
    return named + (f" and {len(rows) - _NAMED_ROWS:,} more" if len(rows) > _NAMED_ROWS else "")
