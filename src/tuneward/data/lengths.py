"""Lengths: every row is rendered and tokenised as training and evaluation will do it, and none is cut silently.

Place on the road: ``data.overlap`` → here → ``data.dataset``. A row that does not fit the context is refused, dropped
or split at a turn's border, as ``too_long`` says; so is a test row whose prompt leaves no room for the longest answer
that the evaluation asks for. A document that does not fit is always cut into passages, at paragraphs where that is
enough: joined, they are the document. A row from which nothing could be learned is refused.
"""

import dataclasses
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tuneward.amounts import counted
from tuneward.data.config import TooLong
from tuneward.data.cut import UncuttableError, cut
from tuneward.data.faults import Faults
from tuneward.data.measure import Size, measure
from tuneward.data.measuring import Measuring
from tuneward.data.named_rows import NAMED, NamedRows
from tuneward.data.records import named
from tuneward.data.rows import Rows
from tuneward.domain.record import Message, Record
from tuneward.errors import ModelError
from tuneward.progress import Progress


@dataclass
class Lengths:
    """Rows that fit, and what became of the others.

    Attributes:
        kept: rows that fit, pieces of split ones in their place.
        tokens: tokens of each kept row.
        answer_tokens: tokens of each kept row that are learned.
        dropped: rows left out because they are too long.
        split: rows that were split.
        pieces: into how many pieces, all together.
        lost_turns: turns (question and answer) too long for any piece, left out of split rows.
        broken_paragraphs: paragraphs of documents that had to be cut inside, since they alone do not fit.
        longest_question: tokens of the longest prompt among kept test rows, as the engine makes them.
    """

    kept: Rows = field(default_factory=Rows)
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    answer_tokens: "array[int]" = field(default_factory=lambda: array("i"))
    dropped: NamedRows = field(default_factory=NamedRows)
    split: NamedRows = field(default_factory=NamedRows)
    pieces: int = 0
    lost_turns: int = 0
    broken_paragraphs: int = 0
    longest_question: int = 0

    def keep(self, record: Record, size: Size, *, question: int = 0) -> None:
        """Take a row that fits; ``question`` is the tokens of a test row's prompt."""
        self.longest_question = max(self.longest_question, question)
        self.kept.add(record)
        self.tokens.append(size.tokens)
        self.answer_tokens.append(size.learned)

    def cut(self, record: Record, pieces: int) -> None:
        """Note a row of which only pieces are kept."""
        self.split.add(record)
        self.pieces += pieces


@dataclass
class _Longest:
    """Rows that need too many tokens: their number, the first by name, and the longest."""

    count: int = 0
    named: list[str] = field(default_factory=list)
    longest: Record | None = None
    tokens: int = 0

    def add(self, record: Record, tokens: int) -> None:
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(f"{record.source} ({tokens:,})")
        if tokens > self.tokens:
            self.longest, self.tokens = record, tokens

    def __str__(self) -> str:
        """The first rows with their tokens, and how many more there are."""
        more = f" and {self.count - NAMED:,} more" if self.count > NAMED else ""
        return ", ".join(self.named) + more


@dataclass(frozen=True)
class Ruler:
    """Measures rows against a context.

    Attributes:
        measuring: renders and tokenises.
        context_tokens: the longest row that fits.
        engine_tokens: the longest prompt and answer that the engine takes together; not less than ``context_tokens``.
        answer_tokens: the longest answer that the evaluation asks for.
        too_long: what happens to longer ones; test rows are never split, since that would change the question.
        record_key: names the pieces of split rows.
        faults: receives rows that are refused.
    """

    measuring: Measuring
    context_tokens: int
    engine_tokens: int
    answer_tokens: int
    too_long: TooLong
    record_key: bytes
    faults: Faults

    def measure(self, records: Iterable[Record], kept: Rows, *, progress: Progress) -> Lengths:
        """Tokenise ``records`` and add what fits to ``kept``.

        Raises:
            ModelError: when the template renders no row at all; the fault is the template's.
        """
        result = Lengths(kept)
        unrendered, failure, seen = Faults(), None, 0
        too_long, no_room = _Longest(), _Longest()
        most = self.engine_tokens - self.answer_tokens
        for record, measured in self.measuring.each(records):
            progress.advance()
            seen += 1
            try:
                if isinstance(measured, ModelError):
                    raise measured
                size, question = measured
                fits = size.longest <= self.context_tokens
                if record.form == "document" and not fits and self._cut(record, result):
                    continue
            except ModelError as error:
                failure = failure or error
                fault, cure = error.faults[0], "check that the template takes these roles"
                unrendered.add("TW-DATA-023", fault.message, place=str(record.source), cure=fault.cure or cure)
                continue
            if size.shortest == 0 or (record.rejected and size.shortest < 2):
                self._refuse_masked(record)
            elif size.equal:
                self._refuse_equal(record)
            elif fits and (not question or question <= most):
                result.keep(record, size, question=question)
            elif self.too_long == "refuse":
                if fits:
                    no_room.add(record, question + self.answer_tokens)
                else:
                    too_long.add(record, size.longest)
            elif self.too_long == "drop" or record.split == "test" or record.form != "conversation":
                result.dropped.add(record)
            else:
                self._split(record, result)
        if failure and len(unrendered) == seen:
            raise failure
        self.faults.add_all(unrendered)
        if too_long.longest:
            self._refuse_too_long(too_long)
        if no_room.longest:
            self._refuse_no_room(no_room)
        return result

    def _cut(self, record: Record, result: Lengths) -> bool:
        """Cut a document into passages that fit; False where a single word does not."""

        def size(text: str) -> int:
            return len(self.measuring.chat.document(text).ids)

        overhead = max(0, 2 * size("a\n\n") - size("a\n\na\n\n"))
        try:
            passages, broken = cut(record.answer, size=size, limit=self.context_tokens, overhead=overhead)
        except UncuttableError:
            return False
        result.cut(record, len(passages))
        result.broken_paragraphs += broken
        for number, text in enumerate(passages):
            passage = dataclasses.replace(record, messages=(Message("document", text),))
            result.keep(named(passage, key=self.record_key, part=number), measure(self.measuring.chat, passage))
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
                size = measure(self.measuring.chat, longer)
                if size.longest <= self.context_tokens:
                    current += turn
                    pieces[-1] = (longer, size)
                    continue
            alone = dataclasses.replace(record, messages=(*head, *turn))
            size = measure(self.measuring.chat, alone)
            if size.longest <= self.context_tokens and size.learned:
                current = turn
                pieces.append((alone, size))
            else:
                current = ()
                lost += 1
        if not pieces:
            result.dropped.add(record)
            return
        result.cut(record, len(pieces))
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

    def _refuse_too_long(self, rows: _Longest) -> None:
        assert rows.longest
        split = "train" if rows.longest.split == "train" else "test"
        found = counted(rows.count, f"{split} row has", f"{split} rows have")
        self.faults.add(
            "TW-DATA-021",
            f"{found} more than {self.context_tokens:,} tokens, the longest {rows.tokens:,} "
            f"({rows.longest.source}): {rows}",
            place=str(rows.longest.source),
            cure="shorten them, or set `data.too_long` to `drop` or `split`; nothing is ever cut silently",
        )

    def _refuse_no_room(self, rows: _Longest) -> None:
        assert rows.longest
        found = counted(rows.count, "test row needs", "test rows need")
        self.faults.add(
            "TW-DATA-021",
            f"{found} more than {self.engine_tokens:,} tokens for the prompt and an answer of "
            f"{self.answer_tokens:,}, the longest {rows.tokens:,} ({rows.longest.source}): {rows}",
            place=str(rows.longest.source),
            cure="lower `evaluation.task.max_tokens`, shorten them, or set `data.too_long` to `drop`",
        )


def _turns(messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """Each question with all that answers it: calls of tools and their results included."""
    starts = [number for number, message in enumerate(messages) if message.role == "user"]
    for begin, end in zip(starts, [*starts[1:], len(messages)], strict=True):
        yield tuple(messages[begin:end])
