"""Audit: the log of everything that happened or was refused, and its signed checkpoints.

Place on the road: ``governance.change`` appends, every step may ask for a checkpoint, ``governance.log_check`` proves.
Knows ids, digests and counts, never content.

The log is an RFC 9162 Merkle tree whose leaf data are the canonical JSON of the events in order of ``seq``. A
checkpoint is a signed note (``governance.notes``). Appending costs the same however long the log is, and a checkpoint
reads only the events since the last one.

What it cannot tell: events that no checkpoint covers can be changed, added or cut off by whoever writes to the
database, for their hashes need no key. Whoever writes to the whole site can do away with the checkpoints there as
well, and then the same holds of all events; only a checkpoint kept elsewhere tells. And whoever has the signing key
can sign another history; a kept checkpoint contradicts it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, Select, Text, cast, func, select

from tuneward.amounts import counted
from tuneward.digests import MerkleTree, leaf_hash
from tuneward.domain.audit import AuditEvent, LogCheckpoint
from tuneward.errors import Fault, ProofError, StorageError
from tuneward.governance.notes import open_note, origin, sign
from tuneward.governance.office import Office
from tuneward.ids import new_id
from tuneward.storage import repository
from tuneward.storage.database import now
from tuneward.storage.files import explained, fault_of, write_atomically
from tuneward.storage.site import Site
from tuneward.storage.tables import audit_event, log_checkpoint

_EVENT_FIELDS = tuple(AuditEvent.__dataclass_fields__)


@dataclass(frozen=True)
class LogCheck:
    """What :func:`check_log` found.

    Attributes:
        size: number of events.
        root: Merkle root over them.
        checkpoints: how many checkpoints were compared, copies not counted twice.
        covered: events that the largest good checkpoint covers; later ones could be cut off unnoticed.
        faults: everything that does not check out; empty when the log is sound.
    """

    size: int
    root: str
    checkpoints: int
    covered: int
    faults: tuple[Fault, ...]


def append(
    connection: Connection,
    *,
    actor: str,
    action: str,
    subject: str,
    decision: str,
    policy: str,
    writes: Sequence[Mapping[str, Any]] = (),
    detail: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Add an event at the end; the connection must be a write transaction, so that ``seq`` has no gap."""
    last = connection.execute(select(func.max(audit_event.c.seq))).scalar()
    event = AuditEvent(
        id=new_id("evt"),
        seq=0 if last is None else last + 1,
        at=now(),
        actor=actor,
        action=action,
        subject=subject,
        decision=decision,
        policy=policy,
        writes=tuple(dict(write) for write in writes),
        detail=dict(detail or {}),
    )
    leaf = leaf_hash(leaf_data(event)).hex()
    connection.execute(audit_event.insert().values(**vars(event), leaf=leaf))
    return event


def leaf_data(event: AuditEvent) -> bytes:
    """What the Merkle tree commits to: the event's canonical JSON."""
    return repository.canonical_noun(event)


def events(connection: Connection, *, since: int = 0, **equals: Any) -> Iterator[AuditEvent]:
    """The events from ``seq`` ``since`` on, in order, one by one, where the named fields are equal."""
    statement = _select(equals).where(audit_event.c.seq >= since).order_by(audit_event.c.seq)
    for row in connection.execute(statement.execution_options(yield_per=1000)).mappings():
        yield _event(row)


def newest_events(connection: Connection, *, last: int, **equals: Any) -> list[AuditEvent]:
    """The ``last`` newest events where the named fields are equal, oldest first."""
    statement = _select(equals).order_by(audit_event.c.seq.desc()).limit(last)
    return [_event(row) for row in connection.execute(statement).mappings()][::-1]


def _select(equals: Mapping[str, Any]) -> Select[Any]:
    statement = select(*(audit_event.c[name] for name in _EVENT_FIELDS))
    return statement.where(*(audit_event.c[name] == value for name, value in equals.items()))


def _event(row: Mapping[Any, Any]) -> AuditEvent:
    """An event as it stands in its row; one that was edited is read all the same, so that it can be named."""
    writes = row["writes"]
    return AuditEvent(**{**row, "writes": tuple(writes) if isinstance(writes, list) else (writes,)})


def checkpoint(office: Office) -> str:
    """Sign the log as it stands; the note is kept in the table and as ``log/checkpoint-<size>.txt``.

    Asking twice without an event in between gives the same note.

    Raises:
        ProofError: when the log contradicts the last checkpoint or one that was exported, as it does where an older
            database was put back; no second history is signed.
        StorageError: when the note cannot be written.
    """
    site = office.site
    name = origin(site.id)
    with site.database.write() as connection:
        last = repository.latest(connection, LogCheckpoint)
        tree = _tree_of(last, name, office.keys.public)
        exported = _exported(site, name, office.keys.public, since=tree.size)
        _refuse_fork(tree, exported)
        for event in events(connection, since=tree.size):
            if event.seq != tree.size:
                raise ProofError(_inconsistent(event.seq))
            tree.append(leaf_data(event))
            _refuse_fork(tree, exported)
        _refuse_shorter(tree, exported)
        stored = connection.execute(select(func.count()).select_from(audit_event)).scalar()
        if stored != tree.size:
            raise ProofError(_inconsistent(tree.size))
        note = sign(name, tree.size, tree.root, office.keys)
        write_atomically(site.log_folder / f"checkpoint-{tree.size}.txt", note.encode())
        if last is None or last.size != tree.size:
            repository.insert(
                connection,
                LogCheckpoint(size=tree.size, root=tree.root, note=note, peaks=tree.peaks, created_at=now()),
            )
    return note


def uncovered(site: Site) -> int:
    """How many events came since the newest checkpoint in the table.

    Raises:
        StorageError: when the database cannot be read.
    """
    with site.database.read() as connection:
        newest = connection.execute(select(func.max(audit_event.c.seq))).scalar()
        covered = connection.execute(select(func.max(log_checkpoint.c.size))).scalar()
    return (0 if newest is None else newest + 1) - (covered or 0)


def _tree_of(last: LogCheckpoint | None, name: str, public: Ed25519PublicKey) -> MerkleTree:
    """The tree at the last checkpoint, from its peaks, if these lead to what was signed."""
    if last is None:
        return MerkleTree()
    try:
        tree = MerkleTree(last.peaks)
    except (ValueError, TypeError):
        raise ProofError(_inconsistent(last.size)) from None
    if (tree.size, tree.root) != (last.size, last.root) or open_note(last.note, name, public) != (last.size, last.root):
        raise ProofError(_inconsistent(last.size))
    return tree


def _exported(site: Site, name: str, public: Ed25519PublicKey, *, since: int) -> dict[int, tuple[str, Path]]:
    """Size → root and file of the well signed checkpoints in ``log/``; of the others :func:`check_log` tells.

    Those that say in their name that they are smaller than ``since`` have nothing to say about what comes, and are not
    opened: a gateway that runs for years leaves many.
    """
    found: dict[int, tuple[str, Path]] = {}
    with explained(site.log_folder):
        for path in site.log_folder.glob("checkpoint-*.txt"):
            named = path.stem.removeprefix("checkpoint-")
            if named.isdecimal() and int(named) < since:
                continue
            try:
                size, root = open_note(path.read_bytes().decode(errors="replace"), name, public)
            except ProofError:
                continue
            found[size] = (root, path)
    return found


def _refuse_fork(tree: MerkleTree, exported: Mapping[int, tuple[str, Path]]) -> None:
    root, path = exported.get(tree.size, (None, None))
    if root is not None and root != tree.root:
        message = f"the first {tree.size} events are others than those that were signed; nothing was signed"
        raise ProofError(Fault("TW-PROOF-007", message, str(path), _RESTORED))


def _refuse_shorter(tree: MerkleTree, exported: Mapping[int, tuple[str, Path]]) -> None:
    beyond = max(exported, default=0)
    if beyond > tree.size:
        message = f"it covers {counted(beyond, 'event')}, the log ends after {tree.size}; nothing was signed"
        raise ProofError(Fault("TW-PROOF-005", message, str(exported[beyond][1]), _RESTORED))


def check_log(site: Site, public_key: Ed25519PublicKey, *, kept: Sequence[str] = ()) -> LogCheck:
    """Re-hash every event and compare the log with every checkpoint in the table, in ``log/`` and in ``kept``.

    Args:
        site: whose log.
        public_key: the key that must have signed; take it from a place that the site's owner cannot write.
        kept: checkpoints that somebody else kept.

    Raises:
        StorageError: when the database cannot be read.
    """
    notes = [(f"kept checkpoint {number}", note) for number, note in enumerate(kept, start=1)]
    faults: list[Fault] = []
    # files first: a checkpoint exported meanwhile covers only events that the later snapshot of the database holds
    for path in sorted(site.log_folder.glob("checkpoint-*.txt")):
        try:
            notes.append((str(path), path.read_bytes().decode(errors="replace")))
        except OSError as error:
            faults.append(fault_of(error, path))
    with site.database.read() as connection:
        stored, damaged = repository.sift(connection, LogCheckpoint)
        faults += [Fault("TW-PROOF-006", fault.message, fault.place, _CURE) for fault in damaged]
        notes += [(f"log_checkpoint {row.size}", row.note) for row in stored]
        roots = _roots(notes, stored, origin(site.id), public_key, faults)
        size, root, good = _walk(connection, roots, faults)
    beyond = max(roots, default=0)
    if beyond > size:
        faults.append(
            Fault(
                "TW-PROOF-005",
                f"a signed checkpoint covers {counted(beyond, 'event')}, the log ends after {size}",
                _range(size, beyond),
                _CURE,
            )
        )
    return LogCheck(size=size, root=root, checkpoints=len(roots), covered=good, faults=tuple(faults))


def _roots(
    notes: list[tuple[str, str]],
    stored: list[LogCheckpoint],
    name: str,
    public_key: Ed25519PublicKey,
    faults: list[Fault],
) -> dict[int, str]:
    """Size → root of every checkpoint that is well signed."""
    roots: dict[int, str] = {}
    for place, note in notes:
        try:
            size, root = open_note(note, name, public_key)
        except ProofError as error:
            faults += [Fault(fault.code, fault.message, place, fault.cure) for fault in error.faults]
            continue
        if roots.setdefault(size, root) != root:
            message = f"two signed checkpoints of size {size} have different roots: the log was forked"
            faults.append(Fault("TW-PROOF-007", message, place, _CURE))
    for row in stored:
        if roots.get(row.size, row.root) != row.root:
            message = "the row's root is not the one that was signed"
            faults.append(Fault("TW-PROOF-006", message, f"log_checkpoint {row.size}", _CURE))
    return roots


def _walk(connection: Connection, roots: Mapping[int, str], faults: list[Fault]) -> tuple[int, str, int]:
    """Compare every event with its leaf and the leaves with the roots; size, root and the largest good checkpoint.

    The tree is built from the stored leaves: where it meets a signed root they are authentic, and an event that does
    not hash to its leaf is exactly the one that was changed.
    """
    tree, good, whole, expected = MerkleTree(), 0, roots.get(0) in {None, MerkleTree().root}, 0
    if not whole:
        faults.append(Fault("TW-PROOF-004", "the checkpoint of the empty log has another root", "seq 0", _CURE))
    columns = [cast(audit_event.c[n], Text) if n in {"writes", "detail"} else audit_event.c[n] for n in _EVENT_FIELDS]
    statement = select(*columns, audit_event.c.leaf).order_by(audit_event.c.seq).execution_options(yield_per=1000)
    for row in connection.execute(statement):
        *values, leaf = row
        event = dict(zip(_EVENT_FIELDS, values, strict=True))
        if event["seq"] != expected:
            number = event["seq"]
            ahead = isinstance(number, int) and number > expected
            missing = _range(expected, number) if ahead else f"seq {expected}"
            faults.append(Fault("TW-PROOF-003", f"missing before {event['id']}", missing, _CURE))
            whole = False  # beyond a gap the roots have nothing to say
            expected = number if ahead else expected
        hashed = _leaf_of(event)
        if hashed is None or hashed != leaf:
            faults.append(Fault("TW-PROOF-002", f"{event['id']} is not what was written", f"seq {expected}", _CURE))
        expected += 1
        if isinstance(leaf, str) and len(leaf) == 64 and not set(leaf) - set("0123456789abcdef"):
            tree.append_hash(bytes.fromhex(leaf))
        elif hashed is not None:
            tree.append_hash(bytes.fromhex(hashed))
        if whole and expected in roots:
            whole = tree.root == roots[expected]
            if whole:
                good = expected
            else:
                message = "changed, inserted, removed or swapped, its hash included: the signed root is another"
                faults.append(Fault("TW-PROOF-004", message, _range(good, expected), _CURE))
    return expected, tree.root, good


def _leaf_of(event: Mapping[str, Any]) -> str | None:
    """Leaf hash of a row as it stands; None when it is no event any more."""
    try:
        writes, detail = json.loads(event["writes"]), json.loads(event["detail"])
        whole = AuditEvent(**{**event, "writes": tuple(writes), "detail": dict(detail)})
        return leaf_hash(leaf_data(whole)).hex()
    except (ValueError, TypeError, StorageError):
        return None


_RESTORED = (
    "put the newest database back; where it is lost for good, move the checkpoints that contradict it elsewhere and "
    "keep them as the record of what was lost"
)
_CURE = "compare with a backup and with checkpoints kept elsewhere, and find out who wrote to the database"


def _range(start: int, end: int) -> str:
    return f"seq {start}" if end - start == 1 else f"seq {start} to {end - 1}"


def _inconsistent(seq: int) -> Fault:
    return Fault(
        "TW-PROOF-004", "the log contradicts itself, so it is not signed", f"seq {seq}", "run `tuneward verify`"
    )
