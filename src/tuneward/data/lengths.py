"""Lengths: every row is rendered and tokenised as training and evaluation will do it, and none is cut silently.

Place on the road: ``data.overlap`` → here → ``data.dataset``. A row that does not fit the context is refused, dropped
or split at a turn's border, as ``too_long`` says; so is a test row whose prompt leaves no room for the longest answer
that the evaluation asks for. A document that does not fit is always cut into passages, at paragraphs where that is
enough: joined, they are the document. A row from which nothing could be learned is refused.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuneward.data.config import TooLong
from tuneward.data.cut import UncuttableError, cut
from tuneward.data.faults import Faults
from tuneward.data.measure import ChatTemplate, Size, measure
from tuneward.data.records import named
from tuneward.domain.record import Message, Record
from tuneward.errors import Fault, ModelError
from tuneward.progress import Progress

_NAMED_ROWS = 20


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
        broken_paragraphs: paragraphs of documents that had to be cut inside, since they alone do not fit.
        longest_question: tokens of the longest prompt among kept test rows, as the engine makes them.
    """

    kept: list[Record] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    answer_tokens: list[int] = field(default_factory=list)
    dropped: list[Record] = field(default_factory=list)
    split: list[tuple[Record, int]] = field(default_factory=list)
    lost_turns: int = 0
    broken_paragraphs: int = 0
    longest_question: int = 0

    def keep(self, record: Record, size: Size, *, question: int = 0) -> None:
        """Take a row that fits; ``question`` is the tokens of a test row's prompt."""
        self.longest_question = max(self.longest_question, question)
        self.kept.append(record)
        self.tokens.append(size.tokens)
        self.answer_tokens.append(size.learned)


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
                size = measure(self.chat, record)
                question = self._question(record)
                fits = size.longest <= self.context_tokens
                if record.form == "document" and not fits and self._cut(record, result):
                    continue
            except ModelError as error:
                unrendered.append((record, error))
                continue
            if size.shortest == 0 or (record.rejected and size.shortest < 2):
                self._refuse_masked(record)
            elif size.equal:
                self._refuse_equal(record)
            elif fits and (not question or question <= most):
                result.keep(record, size, question=question)
            elif self.too_long == "refuse":
                if fits:
                    no_room.append((record, question + self.answer_tokens))
                else:
                    too_long.append((record, size.longest))
            elif self.too_long == "drop" or record.split == "test" or record.form != "conversation":
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

    def _question(self, record: Record) -> int:
        """Tokens of a test row's prompt; 0 where none is asked."""
        if record.split == "train" or record.form == "document":
            return 0
        return len(self.chat.prompt_ids(record.prompt, tools=record.tools))

    def _cut(self, record: Record, result: Lengths) -> bool:
        """Cut a document into passages that fit; False where a single word does not."""

        def size(text: str) -> int:
            return len(self.chat.document(text).ids)

        overhead = max(0, 2 * size("a\n\n") - size("a\n\na\n\n"))
        try:
            passages, broken = cut(record.answer, size=size, limit=self.context_tokens, overhead=overhead)
        except UncuttableError:
            return False
        result.split.append((record, len(passages)))
        result.broken_paragraphs += broken
        for number, text in enumerate(passages):
            passage = dataclasses.replace(record, messages=(Message("document", text),))
            result.keep(named(passage, key=self.record_key, part=number), measure(self.chat, passage))
        return True

    def _split(self, record: Record, result: Lengths) -> None:
        """Cut between turns into the fewest pieces that fit, each with the system message."""
        head = record.messages[:1] if record.messages[0].role == "system" else ()
        pieces: list[tuple[Record, Size]] = []
        current: tuple[Message, ...] = ()
        lost = 0
        for turn in _turns(record.messages[len(head) :]):
            if current:
                longer = dataclasses.replace(record, messages=(*head, *current, *turn))
                size = measure(self.chat, longer)
                if size.longest <= self.context_tokens:
                    current += turn
                    pieces[-1] = (longer, size)
                    continue
            alone = dataclasses.replace(record, messages=(*head, *turn))
            size = measure(self.chat, alone)
            if size.longest <= self.context_tokens and size.learned:
                current = turn
                pieces.append((alone, size))
            else:
                current = ()
                lost += 1
        if not pieces:
            result.dropped.append(record)
            return
        result.split.append((record, len(pieces)))
        result.lost_turns += lost
        for number, (piece, size) in enumerate(pieces):
            result.keep(named(piece, key=self.record_key, part=number), size)

    def _refuse_masked(self, record: Record) -> None:
        cure = "check that the answer holds more than the template's own tokens, or delete the row"
        self.faults.add("TW-DATA-022", "no token of the answer is learned", place=str(record.source), cure=cure)

    def _refuse_equal(self, record: Record) -> None:
        message = "both answers are the same tokens, after redaction and the template's trimming"
        cure = "delete the row: nothing can be learned from it"
        self.faults.add("TW-DATA-033", message, place=str(record.source), cure=cure)

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


def _turns(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """Each question with all that answers it: calls of tools and their results included."""
    starts = [number for number, message in enumerate(messages) if message.role == "user"]
    for begin, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        yield tuple(messages[begin:end])


def _named(rows: list[tuple[Record, int]]) -> str:
    """The first rows with their tokens, and how many more there are."""
    named = ", ".join(f"{record.source} ({count:,})" for record, count in rows[:_NAMED_ROWS])
    return named + (f" and {len(rows) - _NAMED_ROWS:,} more" if len(rows) > _NAMED_ROWS else "")
