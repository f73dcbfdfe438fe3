"""Row pairs: rows and what each of them repeats, contradicts or resembles, as positions.

Place on the road: ``data.overlap`` and ``data.quality`` find them, the card names the first of them. Sixteen bytes a
pair; the rows themselves are read when a pair is looked at.
"""

from array import array
from collections.abc import Sequence
from typing import overload

from tuneward.domain.record import Record

Pair = tuple[Record, Record]


class RowPairs(Sequence[Pair]):
    """Pairs of rows in the order in which they were found.

    Attributes:
        ones: positions of the later rows.
        others: positions of what each of them is paired with.

    Args:
        rows: what ``ones`` count.
        others: what ``others`` count; the same rows when None.
    """

    def __init__(self, rows: Sequence[Record] = (), others: Sequence[Record] | None = None) -> None:
        self._rows, self._others = rows, rows if others is None else others
        self.ones, self.others = array("q"), array("q")

    def add(self, one: int, other: int) -> None:
        """Take one more pair."""
        self.ones.append(one)
        self.others.append(other)

    def __len__(self) -> int:
        return len(self.ones)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        return self._rows[self.ones[index]], self._others[self.others[index]]
