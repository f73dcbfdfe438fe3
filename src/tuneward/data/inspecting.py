"""Inspecting: records with what inspection found in each of their texts, in their order.

Place on the road: ``data.records`` → here → ``data.screening``. Texts go some hundred rows at a time to the inspector
of this process or to workers beside it, while the next rows are read; what the journal knows is not inspected again.
The number of workers and what the journal knows change nothing in what comes out.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tuneward.data.faults import Faults
from tuneward.data.inspection_journal import InspectionJournal
from tuneward.data.parts import Part, parts_of
from tuneward.domain.finding import Finding
from tuneward.domain.record import Record
from tuneward.inspection.inspector import Inspector
from tuneward.inspection.workers import Workers

_ROWS_TOGETHER: Final = 256
_CHARACTERS_TOGETHER: Final = 1 << 19
#: Texts, and their characters, that are inspected here before workers are worth their start.
_TEXTS_ALONE: Final = 4096
_CHARACTERS_ALONE: Final = 1 << 22
#: Pieces under way for each worker: one that it reads, and one that is ready for it.
_UNDER_WAY: Final = 2


@dataclass(frozen=True)
class Inspected:
    """A record that was read and inspected.

    Attributes:
        record: the record; None where the rows have ended.
        parts: its texts.
        found: what stands in each of them.
        faults: what was wrong with the rows before it.
    """

    record: Record | None
    parts: list[Part]
    found: list[list[Finding]]
    faults: Faults


class _Answer(Protocol):
    def result(self) -> list[list[Finding]]: ...


@dataclass
class _Here:
    """An answer of this process, made when it is asked for."""

    inspector: Inspector
    texts: Sequence[str]

    def result(self) -> list[list[Finding]]:
        return [self.inspector.inspect(text) for text in self.texts]


@dataclass
class _Piece:
    """Rows that go together.

    Attributes:
        rows: each with its texts and the faults before it.
        characters: of all texts.
        keys: of the rows that are not known, by which they are remembered.
        known: of each row what was found before, or None.
        answer: to the texts of those that are not known.
        last: what was wrong with the rows behind all records; None but for the last piece.
    """

    rows: list[tuple[Record, list[Part], Faults]] = field(default_factory=list)
    characters: int = 0
    keys: list[bytes] = field(default_factory=list)
    known: list[list[list[Finding]] | None] = field(default_factory=list)
    answer: _Answer | None = None
    last: Faults | None = None


@dataclass
class Inspecting:
    """Inspects records on their way.

    Attributes:
        inspector: of this process.
        workers: processes beside it; asked when there are more than some thousand texts.
        journal: what was found before.
    """

    inspector: Inspector
    workers: Workers | None = None
    journal: InspectionJournal | None = None
    _texts: int = 0
    _characters: int = 0

    def each(self, records: Iterable[Record], faults: Faults) -> Iterator[Inspected]:
        """Every record, inspected, and a last item without one; workers are ended then.

        Args:
            records: read while earlier ones are inspected.
            faults: what reading them adds to; taken from it, and handed out at the place where it belongs.
        """
        under_way: deque[_Piece] = deque()
        most = _UNDER_WAY * self.workers.count if self.workers else 0
        for piece in _pieces(records, faults):
            self._begin(piece)
            under_way.append(piece)
            while len(under_way) > most:
                yield from self._end(under_way.popleft())
        while under_way:
            yield from self._end(under_way.popleft())
        if self.workers:
            self.workers.end()  # their memory is wanted for what comes next

    def _begin(self, piece: _Piece) -> None:
        texts = [[part.text for part in parts] for _, parts, _ in piece.rows]
        piece.known = [None] * len(texts)
        if self.journal:
            keys = self.journal.keys(texts)
            piece.known = self.journal.look(keys)
            piece.keys = [key for key, known in zip(keys, piece.known, strict=True) if known is None]
        unknown = [text for row, known in zip(texts, piece.known, strict=True) if known is None for text in row]
        far = self._texts > _TEXTS_ALONE or self._characters > _CHARACTERS_ALONE
        self._texts += len(unknown)
        self._characters += sum(map(len, unknown))
        piece.answer = (
            self.workers.submit(unknown) if self.workers and far and unknown else _Here(self.inspector, unknown)
        )

    def _end(self, piece: _Piece) -> Iterator[Inspected]:
        assert piece.answer is not None
        answers = iter(piece.answer.result())
        found = [
            [next(answers) for _ in parts] if known is None else known
            for (_, parts, _), known in zip(piece.rows, piece.known, strict=True)
        ]
        if self.journal:
            new = [row for row, known in zip(found, piece.known, strict=True) if known is None]
            self.journal.add(piece.keys, new)
        for (record, parts, faults), in_row in zip(piece.rows, found, strict=True):
            yield Inspected(record, parts, in_row, faults)
        if piece.last is not None:
            yield Inspected(None, [], [], piece.last)


def _pieces(records: Iterable[Record], faults: Faults) -> Iterator[_Piece]:
    piece = _Piece()
    for record in records:
        parts = parts_of(record)
        piece.rows.append((record, parts, faults.take()))
        piece.characters += sum(len(part.text) for part in parts)
        if len(piece.rows) == _ROWS_TOGETHER or piece.characters >= _CHARACTERS_TOGETHER:
            yield piece
            piece = _Piece()
    piece.last = faults.take()
    yield piece
