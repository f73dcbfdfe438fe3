"""Splits: which rows train, which test and which are kept in reserve, so that nobody stands on two sides.

Place on the road: after ``data.overlap``, before ``data.lengths``. Rows of one data subject, and rows of one cluster of
near-duplicates, are drawn together. Knows ids, pseudonyms and labels, no texts.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuneward.data.rows import Positions, number_of
from tuneward.data.split_config import SplitConfig
from tuneward.inspection.clusters import Union

Side = Literal["train", "test", "reserve"]
_ID_BYTES: Final = 44  # `rec_` and forty digits


@dataclass(frozen=True)
class Unit:
    """What the draw needs to know of a row.

    Attributes:
        id: the record's id.
        subject: keyed pseudonym, or None.
        cluster: number of its cluster of near-duplicates; rows of the same number stay together.
        label: what is stratified by; "" where nothing is.
        may_test: False where its answer cannot serve as a reference; its whole group then does not test.
    """

    id: str
    subject: str | None
    cluster: int
    label: str = ""
    may_test: bool = True


def assign(units: Iterable[Unit], config: SplitConfig) -> list[Side]:
    """The side of each row: a function of the set of rows and the seed, not of their order.

    Groups come in an order drawn by the seed from their ids, and each goes to the side that lacks its labels most, as
    long as the side's share is not exceeded (after Sechidis et al. 2011). A group too large for a side trains, so that
    a share may be missed from below where few people have most of the rows.

    Args:
        units: one for each row.
        config: shares and seed.
    """
    table = _Table()
    for unit in units:
        table.add(unit)
    sides: list[Side] = ["train"] * len(table)
    shares: dict[Side, float] = {"test": config.test_share, "reserve": config.reserve_share}
    wanted = {side: share for side, share in shares.items() if share > 0}
    room = {side: int(share * len(table)) for side, share in wanted.items()}
    labels = Counter(table.labels)
    lacking = {side: {label: share * count for label, count in labels.items()} for side, share in wanted.items()}
    for rows in table.groups(config.seed):
        size = len(rows)
        if not any(room.values()):
            break
        may_test = all(table.may_test[row] for row in rows)
        open_sides = [side for side in wanted if size <= room[side] and (side == "reserve" or may_test)]
        own = Counter(table.labels[row] for row in rows)
        gains = {side: sum(lacking[side][label] * n for label, n in own.items()) / size for side in open_sides}
        best = max(gains, key=lambda side: gains[side], default=None)
        if best is None or gains[best] <= 0:
            continue
        room[best] -= size
        for label, count in own.items():
            lacking[best][label] -= count
        for row in rows:
            sides[row] = best
    return sides


def subjects_on_two_sides(sides: Iterable[tuple[str | None, str]]) -> int:
    """How many data subjects stand on more than one side, of pairs (pseudonym, side)."""
    numbers, names = list[int](), list[str]()
    for subject, side in sides:
        numbers.append(number_of(subject))
        names.append(side)
    return numbers_on_two_sides(np.array(numbers, dtype=np.uint64), np.array(names))


def numbers_on_two_sides(subjects: NDArray[np.uint64], sides: NDArray[Any]) -> int:
    """The same of the subjects' numbers (see :func:`data.rows.number_of`), with a side for each row."""
    seen = np.zeros(0, dtype=np.uint64)
    for side in np.unique(sides):
        seen = np.concatenate([seen, np.unique(subjects[(sides == side) & (subjects != 0)])])
    return int((np.unique(seen, return_counts=True)[1] > 1).sum())


class _Table:
    """What the draw needs to know of all rows, in some forty bytes a row."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.may_test = bytearray()
        self._names: dict[str, str] = {}  # equal labels are one text
        self._ids = bytearray()
        self._subjects = array("Q")
        self._clusters = array("q")

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, unit: Unit) -> None:
        self.labels.append(self._names.setdefault(unit.label, unit.label))
        self.may_test.append(unit.may_test)
        self._ids += unit.id.encode().ljust(_ID_BYTES, b"\0")
        assert len(self._ids) == _ID_BYTES * len(self), "ids are of one length at most"
        self._subjects.append(number_of(unit.subject))
        self._clusters.append(unit.cluster)

    def groups(self, seed: int) -> Iterator[list[int]]:
        """Rows that are bound by subject or cluster, group by group in the order of the draw."""
        if not len(self):
            return
        union = Union(len(self))
        subjects = np.array(self._subjects, dtype=np.uint64)
        named = np.flatnonzero(subjects)
        union.join(*_firsts(np.array(self._clusters, dtype=np.int64), np.arange(len(self))))
        union.join(*_firsts(subjects[named], named))
        ids = np.frombuffer(bytes(self._ids), dtype=f"S{_ID_BYTES}")
        by_group = np.lexsort((ids, union.roots))
        begins = np.flatnonzero(np.diff(union.roots[by_group], prepend=-1))
        draws = [_draw(seed, name) for name in ids[by_group[begins]]]
        ends = [*begins[1:].tolist(), len(self)]
        for group in sorted(range(len(draws)), key=draws.__getitem__):
            yield sorted(by_group[begins[group] : ends[group]].tolist())


def _firsts(values: NDArray[Any], rows: Positions) -> tuple[Positions, Positions]:
    """Each row and the first of the same value."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return rows, rows[first[inverse]]


def _draw(seed: int, least_id: bytes) -> bytes:
    return hashlib.blake2b(f"{seed} ".encode() + least_id, digest_size=16).digest()
