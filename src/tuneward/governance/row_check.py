"""Row check: are the governed rows the ones that the log committed?

Place on the road: ``verify``, after ``audit.check_log`` has found the log sound; a row changed, removed or slipped in
behind the log's back is named here. Knows kinds and digests, not what rows mean.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from tuneward.domain.audit import Edge
from tuneward.domain.dataset import RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import TermsEntry
from tuneward.errors import Fault
from tuneward.governance import audit
from tuneward.governance.change import edge_name
from tuneward.governance.rows_digest import RowsDigest
from tuneward.storage import repository
from tuneward.storage.site import Site
from tuneward.storage.tables import dataset as dataset_table

_UNGOVERNED = {"audit_event", "log_checkpoint"}  # the log itself: check_log's business
_BULK: tuple[Any, ...] = (RecordEntry, FindingEntry, TermsEntry)
_CURE = "restore it from a backup, and find out who wrote to the database"


def check_rows(site: Site) -> tuple[Fault, ...]:
    """Compare every governed row with the last event that committed it.

    Raises:
        StorageError: when the database cannot be read.
    """
    with site.database.read() as connection:
        return tuple(faults_in(connection))


def faults_in(connection: Connection) -> Iterator[Fault]:
    """What :func:`check_rows` finds, on an open connection."""
    committed: dict[tuple[str, str], str] = {}
    for event in audit.events(connection, decision="done"):
        try:
            named = {(write["kind"], write["id"]): write["digest"] for write in event.writes}
            rows = event.detail.get("rows", ())
            if isinstance(rows, int):  # how many an export took out, as earlier versions noted it
                rows = ()
            named |= {(bulk["kind"], bulk["dataset"]): bulk["digest"] for bulk in rows}
        except (TypeError, KeyError, AttributeError):  # edited; check_log tells too
            yield Fault("TW-PROOF-002", "is not what was written", f"audit_event {event.id}", _CURE)
            continue
        committed |= named
    present: set[tuple[str, str]] = set()
    for kind, name, digest in _stored(connection):
        present.add((kind, name))
        if isinstance(digest, Fault):
            yield Fault("TW-PROOF-008", f"was changed behind the log's back: {digest.message}", f"{kind} {name}", _CURE)
            continue
        wanted = committed.get((kind, name))
        if wanted is None:
            yield Fault("TW-PROOF-009", "no event of the log wrote it", f"{kind} {name}", _CURE)
        elif wanted != digest:
            yield Fault("TW-PROOF-008", "was changed behind the log's back", f"{kind} {name}", _CURE)
    for kind, name in sorted(committed.keys() - present):
        yield Fault("TW-PROOF-008", "was removed behind the log's back", f"{kind} {name}", _CURE)


def _stored(connection: Connection) -> Iterator[tuple[str, str, str | Fault]]:
    """Kind, name and digest of every governed row, or why it cannot be read; records, findings and terms by dataset."""
    noun_type: Any
    for kind, noun_type in repository.KINDS.items():
        if kind in _UNGOVERNED or noun_type in _BULK:
            continue
        nouns, damaged = repository.sift(connection, noun_type)
        for fault in damaged:
            yield kind, fault.place.removeprefix(f"{kind} "), fault
        for noun in nouns:
            name = edge_name(noun) if isinstance(noun, Edge) else noun.id
            yield kind, name, repository.noun_digest(noun)
    whole = select(dataset_table.c.id).where(repository.there(dataset_table.c.id))
    datasets = list(connection.execute(whole).scalars())
    for noun_type in _BULK:
        for dataset in datasets:
            digest = RowsDigest()
            digest.add(map(repository.canonical_noun, repository.each(connection, noun_type, dataset=dataset)))
            if digest.count:
                yield repository.TABLES[noun_type][0].name, dataset, digest.root()
