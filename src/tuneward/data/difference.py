"""Difference: which rows one dataset has and another has not.

Place on the road: what ``tuneward data diff`` compares. Rows are the same where they say the same, wherever they were
read: by a digest over what they hold without id, place and split. One that stands at the same place and says something
else has changed. One that says the same of another data subject, as where another column names them now, is the same
row and told besides: whose rights reach it has changed. Keeps a digest for each row. Knows neither project nor
settings.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from tuneward.digests import canonical_json
from tuneward.domain.record import Record, Split

Kind = Literal["added", "removed", "changed", "moved", "reassigned"]
LISTED: Final = 20


@dataclass(frozen=True)
class RowChange:
    """One row that differs.

    Attributes:
        kind: ``added``, ``removed``, ``changed`` (other words at the same place), ``moved`` (to the other split) or
            ``reassigned`` (the same words of another data subject).
        split: where it stands, in the later dataset unless it was removed.
        source: its file and line.
        record: its id there.
    """

    kind: Kind
    split: Split
    source: str
    record: str


@dataclass(frozen=True)
class Difference:
    """How the rows of two datasets differ.

    Attributes:
        same: rows that both have in the same split.
        added: rows that only the later one has.
        removed: rows that only the earlier one has.
        changed: rows that say something else at the same place.
        moved: rows that stand in the other split.
        rows: the first twenty of each kind but ``same``.
        reassigned: of the same rows, those that have another data subject, have one now, or have none any more.
    """

    same: int
    added: int
    removed: int
    changed: int
    moved: int
    rows: tuple[RowChange, ...]
    reassigned: int = 0


@dataclass(frozen=True)
class _Entry:
    """What is kept of a row."""

    split: Split
    path: str
    line: int
    record: str
    subject: str | None

    def told(self, kind: Kind) -> RowChange:
        return RowChange(kind, self.split, f"{self.path}:{self.line}", self.record)


def differ(before: Iterable[Record], after: Iterable[Record]) -> Difference:
    """Compare the rows of two datasets; equal rows are matched one to one, first those of one subject, in order."""
    whole: dict[tuple[bytes, Split, str | None], list[_Entry]] = defaultdict(list)
    for record in before:
        whole[content_digest(record), record.split, record.subject].append(_entry(record))
    same = 0
    others: list[tuple[bytes, _Entry]] = []
    for record in after:
        digest = content_digest(record)
        if twins := whole.get((digest, record.split, record.subject)):
            twins.pop(0)
            same += 1
        else:
            others.append((digest, _entry(record)))
    waiting: dict[tuple[bytes, Split], list[_Entry]] = defaultdict(list)
    for (digest, split, _), entries in whole.items():
        waiting[digest, split] += entries
    reassigned, others = _taken(waiting, others, "reassigned")
    same += len(reassigned)
    moved, others = _taken(waiting, others, "moved")
    left = [entry for entries in waiting.values() for entry in entries]
    by_place: dict[tuple[str, int], list[_Entry]] = defaultdict(list)
    for entry in left:
        by_place[entry.path, entry.line].append(entry)
    changed, added = [], []
    for _, entry in others:
        earlier = by_place.get((entry.path, entry.line))
        if earlier:
            earlier.pop(0)
            changed.append(entry.told("changed"))
        else:
            added.append(entry.told("added"))
    removed = [entry.told("removed") for entries in by_place.values() for entry in entries]
    listed = (*added[:LISTED], *removed[:LISTED], *changed[:LISTED], *moved[:LISTED], *reassigned[:LISTED])
    return Difference(same, len(added), len(removed), len(changed), len(moved), listed, len(reassigned))


def content_digest(record: Record) -> bytes:
    """SHA-256 over what a row holds, without its id, place, split and subject."""
    value = {k: v for k, v in record.to_json().items() if k not in ("id", "source", "split", "subject")}
    return hashlib.sha256(canonical_json(value)).digest()


def _taken(
    waiting: dict[tuple[bytes, Split], list[_Entry]],
    others: list[tuple[bytes, _Entry]],
    kind: Literal["moved", "reassigned"],
) -> tuple[list[RowChange], list[tuple[bytes, _Entry]]]:
    """Rows that say what an earlier one says, in the other split or in the same; and those that are left."""
    taken, rest = [], []
    for digest, entry in others:
        far: Split = "test" if entry.split == "train" else "train"
        twins = waiting.get((digest, far if kind == "moved" else entry.split))
        if twins:
            twins.pop(0)
            taken.append(entry.told(kind))
        else:
            rest.append((digest, entry))
    return taken, rest


def _entry(record: Record) -> _Entry:
    return _Entry(record.split, record.source.path, record.source.line, record.id, record.subject)
