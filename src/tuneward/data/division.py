"""Division: the training rows on their sides, and the canaries for a twin run.

Place on the road: ``data.quality`` → here → ``data.lengths``. Joins ``splits`` (who goes where) with the records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneward.amounts import counted
from tuneward.data.canaries import Canary, make_canaries
from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.data.labels import labels_of
from tuneward.data.rows import Joined, Positions, Rows, Selection
from tuneward.data.splits import Unit, assign, numbers_on_two_sides
from tuneward.domain.record import Form, Split


@dataclass(frozen=True)
class Division:
    """Rows by side, each in file order.

    Attributes:
        train: rows that train.
        test: the given test rows, and behind them those held out of the training files.
        reserve: rows that neither train nor test.
        held_out: those of ``test`` that came from the training files.
        canaries: for a twin run.
        on_two_sides: data subjects of whom rows train and others test; only given test files can bring that about.
    """

    train: Selection
    test: Joined
    reserve: Selection
    held_out: Selection
    canaries: list[Canary]
    on_two_sides: int

    @property
    def moved(self) -> dict[str, str]:
        """Record id → side of the rows that left the training rows."""
        return {record.id: record.split for side in (self.held_out, self.reserve) for record in side}


def divide(
    rows: Selection,
    clusters: Sequence[int] | Positions,
    *,
    given_test: Rows,
    config: DataConfig,
    form: Form,
    cannot_test: Sequence[int] | Positions,
    faults: Faults,
) -> Division:
    """Divide the training rows as ``data.split`` says.

    Args:
        rows: training rows in file order.
        clusters: number of each row's cluster of near-duplicates.
        given_test: rows of the test files.
        config: the project's ``data`` section.
        form: what the method learns from.
        cannot_test: positions, as those of ``rows``, of rows whose answers cannot serve as a reference.
        faults: receives a label that no row has, and a side that no row could be put on.
    """
    split = config.split
    barred = np.isin(rows.positions, np.asarray(cannot_test, dtype=np.int64))
    units = _Units(rows, clusters, barred, split.stratify_by)
    asked = split.stratify_by or split.test_share or split.reserve_share
    sides = np.array(assign(units, split) if asked else ["train"] * len(rows), dtype="U7")
    if split.stratify_by and len(rows) and not units.labelled:
        message = f"no answer has a label `{split.stratify_by}`"
        cure = "name a top-level field of the JSON answers, or `answer` where answers are short"
        faults.add("TW-DATA-070", message, place="data.split.stratify_by", cure=cure)
    for name, share, side in (
        ("test_share", split.test_share, "test"),
        ("reserve_share", split.reserve_share, "reserve"),
    ):
        if int(share * len(rows)) and side not in sides:
            asked = f"{share:g} of {counted(len(rows), 'row')} are asked for"
            message = f"{asked}, and none could be held out: they hang together"
            cure = "too many are near-duplicates or of one subject: raise `data.quality.likeness`, or give test files"
            faults.add("TW-DATA-071", message, place=f"data.split.{name}", cure=cure)
    names: tuple[Split, ...] = ("train", "test", "reserve")
    train, held_out, reserve = (rows.rows.at(rows.positions[sides == side], split=side) for side in names)
    test = Joined(given_test, held_out)
    subjects = np.concatenate([train.subjects, test.subjects, reserve.subjects])
    stand = np.repeat(names, [len(train), len(test), len(reserve)])
    return Division(
        train=train,
        test=test,
        reserve=reserve,
        held_out=held_out,
        canaries=make_canaries(split, form=form, system=config.system, like=train[:1]),
        on_two_sides=numbers_on_two_sides(subjects, stand),
    )


class _Units:
    """What the draw needs to know of each row, read one by one.

    Attributes:
        labelled: whether any row so far had the label that is stratified by.
    """

    def __init__(
        self, rows: Selection, clusters: Sequence[int] | Positions, barred: NDArray[np.bool_], label: str | None
    ) -> None:
        self.labelled = False
        self._rows, self._clusters, self._barred, self._label = rows, clusters, barred, label

    def __iter__(self) -> Iterator[Unit]:
        for record, cluster, barred in zip(self._rows, self._clusters, self._barred, strict=True):
            label = labels_of(record).get(self._label, "") if self._label else ""
            self.labelled = self.labelled or bool(label)
            yield Unit(record.id, record.subject, int(cluster), label, not barred)
