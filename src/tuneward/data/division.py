"""Division: the training rows on their sides, and the canaries for a twin run.

Place on the road: ``data.quality`` → here → ``data.lengths``. Joins ``splits`` (who goes where) with the records.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuneward.data.canaries import Canary, make_canaries
from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.data.labels import labels_of
from tuneward.data.splits import Unit, assign, subjects_on_two_sides
from tuneward.domain.record import Form, Record


@dataclass(frozen=True)
class Division:
    """Rows by side, each in file order.

    Attributes:
        train: rows that train.
        test: the given test rows, and behind them those held out of the training files.
        reserve: rows that neither train nor test.
        held_out: how many of ``test`` came from the training files.
        canaries: for a twin run.
        on_two_sides: data subjects of whom rows train and others test; only given test files can bring that about.
    """

    train: list[Record]
    test: list[Record]
    reserve: list[Record]
    held_out: int
    canaries: list[Canary]
    on_two_sides: int

    @property
    def moved(self) -> dict[str, str]:
        """Record id → side of the rows that left the training rows."""
        moved = [*self.test[len(self.test) - self.held_out :], *self.reserve]
        return {record.id: record.split for record in moved}


def divide(
    rows: Sequence[Record],
    clusters: Sequence[int],
    *,
    given_test: Sequence[Record],
    config: DataConfig,
    form: Form,
    cannot_test: Sequence[Record],
    faults: Faults,
) -> Division:
    """Divide the training rows as ``data.split`` says.

    Args:
        rows: training rows in file order.
        clusters: number of each row's cluster of near-duplicates.
        given_test: rows of the test files.
        config: the project's ``data`` section.
        form: what the method learns from.
        cannot_test: rows whose answers cannot serve as a reference.
        faults: receives a label that no row has, and a side that no row could be put on.
    """
    split = config.split
    labels = [labels_of(record).get(split.stratify_by, "") if split.stratify_by else "" for record in rows]
    if split.stratify_by and rows and not any(labels):
        message = f"no answer has a label `{split.stratify_by}`"
        cure = "name a top-level field of the JSON answers, or `answer` where answers are short"
        faults.add("TW-DATA-070", message, place="data.split.stratify_by", cure=cure)
    barred = {record.id for record in cannot_test}
    units = [
        Unit(record.id, record.subject, cluster, label, record.id not in barred)
        for record, cluster, label in zip(rows, clusters, labels, strict=True)
    ]
    sides = assign(units, split)
    for name, share, side in (
        ("test_share", split.test_share, "test"),
        ("reserve_share", split.reserve_share, "reserve"),
    ):
        if int(share * len(rows)) and side not in sides:
            message = f"{share:g} of {len(rows):,} rows are asked for, and none could be held out: they hang together"
            cure = "too many are near-duplicates or of one subject: raise `data.quality.likeness`, or give test files"
            faults.add("TW-DATA-071", message, place=f"data.split.{name}", cure=cure)
    placed = {
        side: [replace(record, split=side) for record, own in zip(rows, sides, strict=True) if own == side]
        for side in ("train", "test", "reserve")
    }
    test = [*given_test, *placed["test"]]
    everyone = [*placed["train"], *test, *placed["reserve"]]
    return Division(
        train=placed["train"],
        test=test,
        reserve=placed["reserve"],
        held_out=len(placed["test"]),
        canaries=make_canaries(split, form=form, system=config.system, like=placed["train"]),
        on_two_sides=subjects_on_two_sides((record.subject, record.split) for record in everyone),
    )
