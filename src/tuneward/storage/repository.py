"""Repository: nouns to rows and back, one explicit dict from noun to table.

Place on the road: under every step, on a connection that somebody else opened. Writes of governed state go through
``governance.change``, which calls this. Knows no rule about who may write what.

Law: ``get(c, type(noun), noun.id) == noun`` after ``insert(c, noun)``, for nouns made of JSON values.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, get_origin, get_type_hints

from sqlalchemy import JSON, Column, ColumnElement, Connection, Select, Table, and_, select

from tuneward.digests import canonical_json, digest_bytes
from tuneward.domain.approval import Approval
from tuneward.domain.audit import AuditEvent, Edge, LogCheckpoint
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset, RecordEntry
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.finding import FindingEntry
from tuneward.domain.later import is_later
from tuneward.domain.law import Affected, LicenceDecision, TermsEntry, Withdrawal
from tuneward.domain.policy import Member
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import ApiKey, Deployment, ModelVersion
from tuneward.errors import Fault, StorageError
from tuneward.storage import tables
from tuneward.storage.database import DamagedJson

Noun = TypeVar("Noun")

#: Noun → its table and the column in whose order it is read where the caller names none.
TABLES: dict[type, tuple[Table, str]] = {
    Base: (tables.base, "created_at"),
    Dataset: (tables.dataset, "created_at"),
    RecordEntry: (tables.record, "position"),
    FindingEntry: (tables.finding, "record"),
    TermsEntry: (tables.terms, "id"),
    Approval: (tables.approval, "requested_at"),
    Run: (tables.run, "started_at"),
    Adapter: (tables.adapter, "created_at"),
    Evaluation: (tables.evaluation, "created_at"),
    ModelVersion: (tables.version, "created_at"),
    Deployment: (tables.deployment, "created_at"),
    ApiKey: (tables.api_key, "created_at"),
    Member: (tables.member, "created_at"),
    Withdrawal: (tables.withdrawal, "recorded_at"),
    Affected: (tables.affected, "marked_at"),
    LicenceDecision: (tables.licence_decision, "decided_at"),
    AuditEvent: (tables.audit_event, "seq"),
    LogCheckpoint: (tables.log_checkpoint, "size"),
    Edge: (tables.edge, "parent"),
}
#: Nouns of a dataset → the column that names it: while it is being entered, none of them is there for any reader.
_OF_DATASET: dict[type, Column[Any]] = {
    Dataset: tables.dataset.c.id,
    RecordEntry: tables.record.c.dataset,
    FindingEntry: tables.finding.c.dataset,
    TermsEntry: tables.terms.c.dataset,
}
KINDS: dict[str, type] = {table.name: noun for noun, (table, _) in TABLES.items()}


def kind_of(noun: object) -> str:
    """The kind under which lineage and log name a noun: ``run``, ``version`` and so on."""
    return TABLES[type(noun)][0].name


def canonical_noun(noun: object) -> bytes:
    """Canonical JSON of a noun's fields; see :mod:`tuneward.domain.later` for those that are left out.

    Raises:
        StorageError: when a value has no JSON form (NaN, infinity, an object), or was read as damaged JSON.
    """
    return _canonical(noun, _values(noun))


def _canonical(noun: object, values: dict[str, Any]) -> bytes:
    if damaged := _damaged(TABLES[type(noun)][0], values):
        raise StorageError(damaged)
    noun_type: Any = type(noun)
    left_out = _later(noun_type)
    values = {name: value for name, value in values.items() if name not in left_out or value != left_out[name]}
    try:
        return canonical_json(values)
    except (ValueError, TypeError) as error:
        name = f"{kind_of(noun)} {getattr(noun, 'id', '')}".rstrip()
        raise StorageError(
            Fault("TW-STOR-013", f"no JSON form: {error}", name, "store finite numbers, texts, lists and mappings")
        ) from None


def noun_digest(noun: object) -> str:
    """SHA-256 over :func:`canonical_noun`: what the log commits to."""
    return digest_bytes(canonical_noun(noun))


def insert(connection: Connection, noun: object) -> None:
    """Add one row.

    Raises:
        StorageError: at once or at commit, when the row contradicts what is there or a value has no JSON form.
    """
    insert_many(connection, [noun])


def insert_many(connection: Connection, nouns: Iterable[object]) -> list[bytes]:
    """Add many rows; nouns of one type travel in one statement. Returns the canonical JSON of each.

    Raises:
        StorageError: see :func:`insert`.
    """
    ready = Ready.of(nouns)
    ready.insert(connection)
    return ready.canonical


@dataclass(frozen=True)
class Ready:
    """Rows made ready before a transaction begins, so that it holds the database no longer than it must.

    Attributes:
        rows: noun → its rows, by column.
        canonical: the canonical JSON of each noun.
    """

    rows: Mapping[type, Sequence[Mapping[str, Any]]]
    canonical: list[bytes]

    @classmethod
    def of(cls, nouns: Iterable[object]) -> "Ready":
        """Make them ready.

        Raises:
            StorageError: a value has no JSON form.
        """
        rows: dict[type, list[dict[str, Any]]] = {}
        canonical = []
        for noun in nouns:
            values = _values(noun)
            canonical.append(_canonical(noun, values))
            rows.setdefault(type(noun), []).append(values)
        return cls(rows, canonical)

    def insert(self, connection: Connection) -> None:
        """Add the rows.

        Raises:
            StorageError: see :func:`insert`.
        """
        for noun_type, many in self.rows.items():
            connection.execute(TABLES[noun_type][0].insert(), list(many))


def update(connection: Connection, noun: object) -> None:
    """Replace the row that has the noun's primary key.

    Raises:
        StorageError: when no such row is there.
    """
    canonical_noun(noun)
    table, values = TABLES[type(noun)][0], _values(noun)
    same = and_(*(column == values[column.name] for column in table.primary_key))
    if connection.execute(table.update().where(same).values(values)).rowcount != 1:
        raise StorageError(
            Fault("TW-STOR-008", f"there is no {table.name} to change", str(getattr(noun, "id", "")), "add it first")
        )


def get(connection: Connection, noun_type: type[Noun], noun_id: str) -> Noun | None:
    """The noun with this id, or None. Of records, whose ids return in every dataset, ask :func:`find`.

    Raises:
        StorageError: its row holds damaged JSON.
    """
    table = TABLES[noun_type][0]
    assert [column.name for column in table.primary_key] == ["id"], f"{noun_type.__name__} has no id of its own"
    row = connection.execute(_select(noun_type).where(table.c.id == noun_id)).mappings().first()
    return None if row is None else _noun(noun_type, row)


def require(connection: Connection, noun_type: type[Noun], noun_id: str) -> Noun:
    """The noun with this id.

    Raises:
        StorageError: when it is not there.
    """
    found = get(connection, noun_type, noun_id)
    if found is None:
        kind = TABLES[noun_type][0].name
        raise StorageError(
            Fault("TW-STOR-014", f"there is no {kind} of this id", noun_id, "restore the database from a backup")
        )
    return found


def find(connection: Connection, noun_type: type[Noun], *, order: str | None = None, **equals: Any) -> list[Noun]:
    """The nouns whose fields equal what is asked for (None matches an empty field).

    Args:
        connection: an open connection.
        noun_type: what to read.
        order: a field; ``-field`` for falling order; None for the order of birth.
        equals: field=value.

    Raises:
        StorageError: naming every row among them that holds damaged JSON.
    """
    nouns, damaged = sift(connection, noun_type, order=order, **equals)
    if damaged:
        raise StorageError(damaged)
    return nouns


def each(connection: Connection, noun_type: type[Noun], **equals: Any) -> Iterator[Noun]:
    """What :func:`find` returns, one after the other, for rows that are too many to be held.

    Raises:
        StorageError: at the end, naming every row among them that holds damaged JSON.
    """
    damaged = list[Fault]()
    statement = _ordered(noun_type, None).where(*_conditions(noun_type, equals))
    for row in connection.execute(statement).mappings():
        if fault := _damaged(TABLES[noun_type][0], row):
            damaged.append(fault)
        else:
            yield _noun(noun_type, row)
    if damaged:
        raise StorageError(damaged)


def sift(
    connection: Connection, noun_type: type[Noun], *, order: str | None = None, **equals: Any
) -> tuple[list[Noun], list[Fault]]:
    """As :func:`find`; but rows that hold damaged JSON are told beside the nouns, each by a fault with its place."""
    statement = _ordered(noun_type, order).where(*_conditions(noun_type, equals))
    nouns, faults = list[Noun](), list[Fault]()
    for row in connection.execute(statement).mappings():
        if damaged := _damaged(TABLES[noun_type][0], row):
            faults.append(damaged)
        else:
            nouns.append(_noun(noun_type, row))
    return nouns, faults


def latest(connection: Connection, noun_type: type[Noun], **equals: Any) -> Noun | None:
    """The one born last among those that :func:`find` would return, or None.

    Raises:
        StorageError: its row holds damaged JSON.
    """
    order = "-" + TABLES[noun_type][1]
    statement = _ordered(noun_type, order).where(*_conditions(noun_type, equals)).limit(1)
    row = connection.execute(statement).mappings().first()
    return None if row is None else _noun(noun_type, row)


def there(dataset: "Column[Any]") -> ColumnElement[bool]:
    """The condition that the dataset which a column names is whole, not one that is being entered."""
    return dataset.not_in(select(tables.entering.c.dataset))


def _conditions(noun_type: type, equals: Mapping[str, Any]) -> list[Any]:
    table = TABLES[noun_type][0]
    return [table.c[name].is_(None) if value is None else table.c[name] == value for name, value in equals.items()]


def _select(noun_type: type) -> Select[Any]:
    table = TABLES[noun_type][0]
    wanted = select(*(table.c[name] for name in _fields(noun_type)))
    return wanted.where(there(_OF_DATASET[noun_type])) if noun_type in _OF_DATASET else wanted


def _ordered(noun_type: type, order: str | None) -> Select[Any]:
    table, birth = TABLES[noun_type]
    name = order or birth
    columns = [table.c[name.removeprefix("-")], *table.primary_key]
    return _select(noun_type).order_by(*(c.desc() if name.startswith("-") else c for c in columns))


@cache
def _fields(noun_type: Any) -> dict[str, bool]:
    """Field → whether it is a tuple, which JSON brings back as a list."""
    hints = get_type_hints(noun_type)
    return {field.name: get_origin(hints[field.name]) is tuple for field in fields(noun_type)}


@cache
def _later(noun_type: Any) -> dict[str, Any]:
    """Field that came later → the value with which earlier rows read."""
    return {field.name: field.default for field in fields(noun_type) if is_later(field)}


def _values(noun: object) -> dict[str, Any]:
    noun_type: Any = type(noun)
    values = {name: getattr(noun, name) for name in _fields(noun_type)}
    for name in _json_columns(noun_type):
        if isinstance(values[name], Mapping):
            values[name] = dict(values[name])
    return values


@cache
def _json_columns(noun_type: Any) -> tuple[str, ...]:
    return tuple(column.name for column in TABLES[noun_type][0].columns if isinstance(column.type, JSON))


def _damaged(table: Table, row: Mapping[Any, Any]) -> Fault | None:
    """The fault of a row with damaged JSON: its place is ``kind id``."""
    columns = [
        name
        for name in _json_columns(KINDS[table.name])
        if any(isinstance(part, DamagedJson) for part in (row[name], *_parts(row[name])))
    ]
    if not columns:
        return None
    place = " ".join([table.name, *(str(row[column.name]) for column in table.primary_key)])
    return Fault("TW-STOR-003", f"holds damaged JSON ({', '.join(columns)})", place, "restore it from a backup")


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _noun(noun_type: Any, row: Mapping[Any, Any]) -> Any:
    if damaged := _damaged(TABLES[noun_type][0], row):
        raise StorageError(damaged)
    return noun_type(
        **{name: _tuple(row[name]) if is_tuple else row[name] for name, is_tuple in _fields(noun_type).items()}
    )


def _tuple(value: Any) -> Any:
    """Lists as tuples; a value that was edited into something else stays what it is, and its digest tells."""
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
