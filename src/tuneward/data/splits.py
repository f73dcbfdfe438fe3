"""Splits: which rows train, which test and which are kept in reserve, so that nobody stands on two sides.

Place on the road: after ``data.overlap``, before ``data.lengths``. Rows of one data subject, and rows of one cluster of
near-duplicates, are drawn together. Knows ids, pseudonyms and labels, no texts.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tuneward.data.split_config import SplitConfig
from tuneward.inspection.clusters import Union

Side = Literal["train", "test", "reserve"]


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


@dataclass
class _Group:
    rows: list[int] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    may_test: bool = True
    draw: bytes = b""


def assign(units: Sequence[Unit], config: SplitConfig) -> list[Side]:
    """The side of each row: a function of the set of rows and the seed, not of their order.

    Groups come in an order drawn by the seed from their ids, and each goes to the side that lacks its labels most, as
    long as the side's share is not exceeded (after Sechidis et al. 2011). A group too large for a side trains, so that
    a share may be missed from below where few people have most of the rows.

    Args:
        units: one for each row.
        config: shares and seed.
    """
    sides: list[Side] = ["train"] * len(units)
    shares: dict[Side, float] = {"test": config.test_share, "reserve": config.reserve_share}
    wanted = {side: share for side, share in shares.items() if share > 0}
    if not wanted:
        return sides
    labels = Counter(unit.label for unit in units)
    room = {side: int(share * len(units)) for side, share in wanted.items()}
    lacking = {side: {label: share * count for label, count in labels.items()} for side, share in wanted.items()}
    for group in sorted(_groups(units, config.seed), key=lambda group: group.draw):
        size = len(group.rows)
        open_sides = [side for side in wanted if size <= room[side] and (side == "reserve" or group.may_test)]
        gains = {side: sum(lacking[side][label] * n for label, n in group.labels.items()) / size for side in open_sides}
        best = max(gains, key=lambda side: gains[side], default=None)
        if best is None or gains[best] <= 0:
            continue
        room[best] -= size
        for label, count in group.labels.items():
            lacking[best][label] -= count
        for row in group.rows:
            sides[row] = best
    return sides


def subjects_on_two_sides(sides: Iterable[tuple[str | None, str]]) -> int:
    """How many data subjects stand on more than one side, of pairs (pseudonym, side)."""
    seen: dict[str, set[str]] = defaultdict(set)
    for subject, side in sides:
        if subject is not None:
            seen[subject].add(side)
    return sum(len(found) > 1 for found in seen.values())


def _groups(units: Sequence[Unit], seed: int) -> Iterable[_Group]:
    """Rows that are bound by subject or cluster, each group with its place in the draw."""
    firsts: dict[tuple[str, str | int], int] = {}
    ones, others = [], []
    for row, unit in enumerate(units):
        names: list[tuple[str, str | int]] = [("cluster", unit.cluster)]
        if unit.subject is not None:
            names.append(("subject", unit.subject))
        for name in names:
            ones.append(firsts.setdefault(name, row))
            others.append(row)
    union = Union(len(units))
    union.join(np.array(ones, dtype=np.int64), np.array(others, dtype=np.int64))
    groups: dict[int, _Group] = defaultdict(_Group)
    for row, root in enumerate(union.roots.tolist()):
        group = groups[root]
        group.rows.append(row)
        group.labels[units[row].label] += 1
        group.may_test = group.may_test and units[row].may_test
    for group in groups.values():
        least = min(units[row].id for row in group.rows)
        group.draw = hashlib.blake2b(f"{seed} {least}".encode(), digest_size=16).digest()
    return groups.values()
