"""Export: prepared rows as one file for other programs, in chat form.

Place on the road: beside it, from ``tuneward data export``. JSONL, Parquet and CSV hold the same columns, and our own
readers give back the rows from each. Rows go out as they were prepared, redacted, without pseudonyms. Knows no project.
"""

import csv
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow
import pyarrow.parquet

from tuneward.data.reading import compact_json
from tuneward.domain.record import Form, Record

Format = Literal["jsonl", "parquet", "csv"]
FORMATS: Final[tuple[Format, ...]] = ("jsonl", "parquet", "csv")
_BATCH_ROWS: Final = 1_000

_TEXT: Final = pyarrow.string()
_TURNS: Final = pyarrow.list_(pyarrow.struct([("role", _TEXT), ("content", _TEXT), ("tool_calls", _TEXT)]))
#: Column → its type and the forms of rows that have it; the first three say where a row comes from.
_COLUMNS: Final[Mapping[str, tuple[Any, frozenset[Form]]]] = {
    "id": (_TEXT, frozenset(("conversation", "pair", "judged", "document"))),
    "split": (_TEXT, frozenset(("conversation", "pair", "judged", "document"))),
    "source": (_TEXT, frozenset(("conversation", "pair", "judged", "document"))),
    "messages": (_TURNS, frozenset(("conversation", "judged"))),
    "chosen": (_TURNS, frozenset(("pair",))),
    "rejected": (_TURNS, frozenset(("pair",))),
    "margin": (pyarrow.float64(), frozenset(("pair",))),
    "label": (pyarrow.bool_(), frozenset(("judged",))),
    "text": (_TEXT, frozenset(("document",))),
    "tools": (_TEXT, frozenset(("conversation", "pair", "judged"))),
}


def columns_of(forms: Collection[Form]) -> list[str]:
    """The columns of a file with rows of these forms."""
    return [name for name, (_, having) in _COLUMNS.items() if having & set(forms)]


def write_rows(records: Iterable[Record], path: Path, *, forms: Collection[Form], format: Format) -> int:
    """Write rows into a new file; the same rows give the same bytes. Returns how many.

    Args:
        records: the rows.
        path: the file.
        forms: the forms that the rows have; they say which columns there are.
        format: of the file.

    Raises:
        OSError: it cannot be written.
    """
    names = columns_of(forms)
    rows = ({name: row.get(name) for name in names} for row in map(row_of, records))
    if format == "parquet":
        return _write_parquet(rows, path, names)
    count = 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, names, lineterminator="\n")
        if format == "csv":
            writer.writeheader()
        for row in rows:
            count += 1
            if format == "csv":
                writer.writerow({name: _cell(value) for name, value in row.items()})
            else:
                filled = {name: value for name, value in row.items() if value is not None}
                handle.write(compact_json(filled) + "\n")
    return count


def row_of(record: Record) -> dict[str, Any]:
    """A record as columns in chat form: whole conversations, calls of tools as JSON text."""
    turns = [message.to_json() for message in record.messages]
    row: dict[str, Any] = {"id": record.id, "split": record.split, "source": str(record.source), "tools": record.tools}
    if record.form == "document":
        return row | {"text": record.answer}
    if record.rejected:
        return row | {
            "chosen": turns,
            "rejected": [*turns[:-1], record.rejected.to_json()],
            "margin": record.margin,
        }
    return row | {"messages": turns, "label": record.desirable}


def _write_parquet(rows: Iterable[dict[str, Any]], path: Path, names: list[str]) -> int:
    schema = pyarrow.schema([(name, _COLUMNS[name][0]) for name in names])
    count, batch = 0, []
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == _BATCH_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return compact_json(value)
    return json.dumps(value) if isinstance(value, bool) else value
