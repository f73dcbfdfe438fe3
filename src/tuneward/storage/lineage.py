"""Lineage: which noun was made from which.

Place on the road: every step links what it made to what it made it from (through ``governance.change``); ``verify``
and, one day, ``erase`` walk the same edges. Rows of a dataset need no edges: each carries its dataset.
Knows ids and kinds, no contents.
"""

from collections import deque
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from tuneward.domain.audit import Edge
from tuneward.storage import repository


class Ref(NamedTuple):
    """A noun by name."""

    kind: str
    id: str


def ref(noun: object) -> Ref:
    """The name of a noun that has an id; a :class:`Ref` is returned as it is."""
    return noun if isinstance(noun, Ref) else Ref(repository.kind_of(noun), str(getattr(noun, "id")))  # noqa: B009


def link(connection: Connection, parent: object, child: object) -> Edge:
    """Record that ``child`` was made from ``parent`` (nouns or refs); saying it twice changes nothing."""
    above, below = ref(parent), ref(child)
    edge = Edge(parent_kind=above.kind, parent=above.id, child_kind=below.kind, child=below.id)
    if not repository.find(
        connection, Edge, parent_kind=above.kind, parent=above.id, child_kind=below.kind, child=below.id
    ):
        repository.insert(connection, edge)
    return edge


def parents(connection: Connection, kind: str, noun_id: str) -> list[Ref]:
    """What the noun was made from, one step up."""
    edges = repository.find(connection, Edge, child_kind=kind, child=noun_id)
    return [Ref(edge.parent_kind, edge.parent) for edge in edges]


def children(connection: Connection, kind: str, noun_id: str) -> list[Ref]:
    """What was made from the noun, one step down."""
    edges = repository.find(connection, Edge, parent_kind=kind, parent=noun_id, order="child")
    return [Ref(edge.child_kind, edge.child) for edge in edges]


def walk(connection: Connection, kind: str, noun_id: str, *, towards: Literal["parents", "children"]) -> list[Ref]:
    """Every noun reachable from this one, nearest first, each once, the start left out."""
    step = parents if towards == "parents" else children
    start = Ref(kind, noun_id)
    seen, found, waiting = {start}, list[Ref](), deque([start])
    while waiting:
        for there in step(connection, *waiting.popleft()):
            if there not in seen:
                seen.add(there)
                found.append(there)
                waiting.append(there)
    return found
