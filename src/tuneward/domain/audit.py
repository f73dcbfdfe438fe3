"""AuditEvent: one line of the log; LogCheckpoint: its signed state; Edge: one line of the lineage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AuditEvent:
    """Something that happened, or was refused. Holds ids and digests, never content.

    Attributes:
        id: ``evt_…``.
        seq: 0, 1, 2… without a gap: the leaf's place in the Merkle tree.
        at: UTC, ISO 8601 with microseconds.
        actor: member id, or ``key:<id>`` for a caller of the gateway.
        action: such as ``dataset.prepare`` or ``answer.finish``.
        subject: id of what it is about.
        decision: ``done | refused``.
        policy: name and version of the policy in force.
        writes: ``{"kind": …, "id": …, "digest": …}`` of every governed row that the event committed.
        detail: further ids, digests and counts.
    """

    id: str
    seq: int
    at: str
    actor: str
    action: str
    subject: str
    decision: str
    policy: str
    writes: tuple[Mapping[str, Any], ...]
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class LogCheckpoint:
    """A signed statement of how long the log was and what stood in it.

    Attributes:
        size: number of events covered: seq 0 to size - 1.
        root: Merkle root over them, in hex.
        note: the signed note (C2SP ``tlog-checkpoint``), the text that is exported.
        peaks: ``[height, hash]`` of the complete subtrees, so that the next checkpoint need not read old events.
        created_at: UTC, ISO 8601.
    """

    size: int
    root: str
    note: str
    peaks: tuple[tuple[int, str], ...]
    created_at: str


@dataclass(frozen=True)
class Edge:
    """A step of the lineage: ``child`` was made from ``parent``.

    Attributes:
        parent_kind: table-like name of the parent's noun (``dataset``, ``run``…).
        parent: id of the parent.
        child_kind: likewise.
        child: id of the child.
    """

    parent_kind: str
    parent: str
    child_kind: str
    child: str
