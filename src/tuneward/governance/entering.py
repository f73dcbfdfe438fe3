"""Entering: a dataset's rows on their way into the register, in parts.

Place on the road: ``prepare`` has made the rows; a million of them take half a minute to write, and whoever writes
keeps all others from writing, a gateway with an answer included. So they are written in many short transactions, each
of rows that nobody sees: the dataset is marked as one that is being entered, and :mod:`storage.repository` shows no
reader a row of such a one. The change that ends ``prepare`` takes the mark away (:func:`publish`), and its event
commits to the rows. What a killed run left is swept by the next (:func:`sweep`). Whoever calls holds the site's lock.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import TermsEntry
from tuneward.errors import Fault, StorageError
from tuneward.governance import audit
from tuneward.governance.office import Office
from tuneward.governance.rows_digest import RowsDigest
from tuneward.progress import SILENT, Progress
from tuneward.storage import repository, tables
from tuneward.storage.database import now
from tuneward.storage.files import explained

#: Rows that are written, or removed, in one transaction, at most: some tenths of a second.
ROWS_AT_ONCE: Final = 5_000
_HELD_SECONDS: Final = (
    0.5  # a part that held the database for longer, on a slow disk, is followed by one of half its rows
)

Row = RecordEntry | FindingEntry | TermsEntry


@dataclass(frozen=True)
class Entered:
    """A dataset whose rows are in the register, and that nobody sees yet.

    Attributes:
        dataset: it.
        rows: for each kind of rows its name, the dataset's id, how many there are and one digest over all (see
            :class:`governance.rows_digest.RowsDigest`).
    """

    dataset: Dataset
    rows: tuple[dict[str, Any], ...]


def enter(office: Office, dataset: Dataset, rows: Iterable[Row], *, progress: Progress = SILENT) -> Entered:
    """Write a dataset and its rows, in parts, for :meth:`governance.change.Change.put_entered` to make them seen.

    The rows are too many to be named one by one, and too many to be held: they are taken some thousands at a time.

    Args:
        office: where.
        dataset: its base is in the register, it is not.
        rows: records, findings and terms of this dataset.
        progress: told of every row.

    Raises:
        StorageError: rows cannot be written, or contradict what is there.
    """
    database, scratch = office.site.database, office.site.scratch_folder
    with database.write() as connection:
        repository.insert(connection, dataset)
        connection.execute(tables.entering.insert(), [{"dataset": dataset.id, "began_at": now()}])
    digests: dict[str, RowsDigest] = {}
    waiting, size = iter(rows), ROWS_AT_ONCE
    while part := list(islice(waiting, size)):
        groups: dict[str, list[Row]] = {}
        for row in part:
            assert row.dataset == dataset.id, "rows of this dataset"
            groups.setdefault(repository.kind_of(row), []).append(row)
        # whoever waits for the database gets it while the next part is made ready
        ready = {kind: repository.Ready.of(group) for kind, group in groups.items()}
        with explained(scratch):
            for kind, group in ready.items():
                digests.setdefault(kind, RowsDigest(scratch)).add(group.canonical)
        with database.write() as connection:
            began = time.monotonic()
            for group in ready.values():
                group.insert(connection)
        slow = time.monotonic() - began > _HELD_SECONDS
        size = max(size // 2, 1) if slow else min(size * 2, ROWS_AT_ONCE)
        progress.advance(len(part))
    told = []
    for kind, digest in digests.items():
        with explained(scratch):
            root = digest.root()
        told.append({"kind": kind, "dataset": dataset.id, "count": digest.count, "digest": root})
    return Entered(dataset, tuple(told))


def publish(connection: Connection, entered: Entered) -> None:
    """From the end of this transaction on, the dataset and its rows are seen.

    Raises:
        StorageError: it is not being entered: somebody removed it meanwhile.
    """
    mark = delete(tables.entering).where(tables.entering.c.dataset == entered.dataset.id)
    if connection.execute(mark).rowcount != 1:
        cure = "run `tuneward prepare` again"
        raise StorageError(Fault("TW-STOR-008", "its rows are not in the register", entered.dataset.id, cure))


def sweep(office: Office) -> None:
    """Remove every dataset whose entering was broken off, in parts.

    One that the log knows was whole, and was marked behind its back: it stays for whoever looks into that, and
    ``verify`` tells.

    Raises:
        StorageError: the database cannot be written.
    """
    database = office.site.database
    with database.read() as connection:
        left = list(connection.execute(select(tables.entering.c.dataset)).scalars())
        if left:
            done = audit.events(connection, decision="done", action="dataset.prepare")
            whole = {event.subject for event in done}
            left = [dataset for dataset in left if dataset not in whole]
    for dataset in left:
        for table, column in (
            (tables.finding, tables.finding.c.record),
            (tables.record, tables.record.c.id),
            (tables.terms, tables.terms.c.id),
        ):
            of_it = table.c.dataset == dataset
            some = select(column).where(of_it).distinct().limit(ROWS_AT_ONCE)
            removed = 1
            while removed:
                with database.write() as connection:
                    removed = connection.execute(delete(table).where(of_it, column.in_(some))).rowcount
        with database.write() as connection:
            connection.execute(delete(tables.entering).where(tables.entering.c.dataset == dataset))
            connection.execute(delete(tables.dataset).where(tables.dataset.c.id == dataset))
