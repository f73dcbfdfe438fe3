"""Rows: records on disk that read as a list, so that a million of them take the memory of ten thousand.

Place on the road: what ``data.dataset`` reads into and every later step of it reads from; a prepared dataset's rows are
such rows. A record is kept as the line that it will be in ``train.jsonl``; its terms, which stand beside the line, and
a number for its subject are kept in memory: twenty bytes a row.
"""

import hashlib
import json
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tuneward.data.spool import Spool
from tuneward.digests import canonical_json
from tuneward.domain.law import Terms
from tuneward.domain.record import Record, Split

Positions = NDArray[np.int64]


def canonical_row(record: Record) -> bytes:
    """The row as it is written and digested: canonical JSON on one line, without the line end."""
    return canonical_json(record.to_json())


class _Records(Sequence[Record]):
    """What rows and selections of them have in common."""

    @abstractmethod
    def _at(self, position: int) -> Record:
        """The record at a position that is there."""

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._at(position) for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(index)
        return self._at(position)

    def __iter__(self) -> Iterator[Record]:
        return map(self._at, range(len(self)))


class Rows(_Records):
    """Records in the order in which they were added.

    Law: a list to which the same records were appended reads the same, terms included.

    Args:
        folder: on whose disk they lie; the system's folder for temporary files when None.

    Raises:
        OSError: the disk refuses, here and in whatever adds or reads.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._lines = Spool(folder)
        self._known: dict[Terms | None, int] = {}
        self._sets: list[Terms | None] = []
        self._terms = array("i")
        self._subjects = array("Q")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, record: Record) -> int:
        """Take one more record; returns its position, counted from 0."""
        number = self._known.setdefault(record.terms, len(self._sets))
        if number == len(self._sets):
            self._sets.append(record.terms)
        self._terms.append(number)
        self._subjects.append(number_of(record.subject))
        return self._lines.add(canonical_row(record))

    def at(self, positions: Sequence[int] | Positions, *, split: Split | None = None) -> "Selection":
        """Some of the rows in the order given, put on a side where ``split`` says so."""
        return Selection(self, np.asarray(positions, dtype=np.int64), split)

    @property
    def lines(self) -> Iterator[bytes]:
        """Each row's canonical JSON, in order."""
        return iter(self._lines)

    @property
    def terms(self) -> Iterator[Terms | None]:
        """Each row's terms, in order."""
        return map(self._sets.__getitem__, self._terms)

    @property
    def subjects(self) -> NDArray[np.uint64]:
        """A number for each row's subject; see :func:`number_of`."""
        return np.array(self._subjects, dtype=np.uint64)

    def __iter__(self) -> Iterator[Record]:
        return (self._read(line, number) for line, number in zip(self._lines, self._terms, strict=True))

    def _at(self, position: int) -> Record:
        return self._read(self._lines[position], self._terms[position])

    def _read(self, line: bytes, number: int) -> Record:
        return Record.from_json(json.loads(line), self._sets[number])


class Selection(_Records):
    """Some rows by their positions; law: it reads as the list of these rows.

    Attributes:
        rows: what the positions count.
        positions: of each row.
        split: the side that the rows are put on; None leaves them where they are.
    """

    def __init__(self, rows: Rows, positions: Positions, split: Split | None = None) -> None:
        self.rows, self.positions, self.split = rows, positions, split

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def subjects(self) -> NDArray[np.uint64]:
        """See :attr:`Rows.subjects`."""
        return self.rows.subjects[self.positions]

    def _at(self, position: int) -> Record:
        record = self.rows[int(self.positions[position])]
        return record if self.split in (None, record.split) else replace(record, split=self.split)


class Joined(_Records):
    """Several sequences of records, one behind the other."""

    def __init__(self, *parts: "Rows | Selection") -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self._parts)

    @property
    def subjects(self) -> NDArray[np.uint64]:
        """See :attr:`Rows.subjects`."""
        return np.concatenate([part.subjects for part in self._parts])

    def _at(self, position: int) -> Record:
        for part in self._parts:
            if position < len(part):
                return part[position]
            position -= len(part)
        raise IndexError(position)


def number_of(subject: str | None) -> int:
    """64 bits of a digest that stand for a subject, 0 for none; of a million, two fall together once in 30 million."""
    if subject is None:
        return 0
    return int.from_bytes(hashlib.blake2b(subject.encode(), digest_size=8).digest(), "little") or 1
