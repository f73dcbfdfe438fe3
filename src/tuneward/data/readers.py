"""Readers: from a file to rows, one at a time, each with its place.

Place on the road: ``data.files`` → here → ``data.records``. A reader is chosen by the file's suffix from one explicit
dict. It keeps no more than one row (Parquet: one batch) in memory, goes on after a fault so that all of them are told,
and never repeats a row's text in a fault. Documents (``data.documents``, ``data.pdf``, ``data.word``) give rows with
one column, ``text``. Knows nothing of prompts and answers.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

import pyarrow
import pyarrow.parquet

from tuneward.data.documents import read_html, read_text
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import MAX_FIELD_CHARACTERS, MAX_LINE_BYTES, Row, read_lines
from tuneward.data.parsing import parse_json
from tuneward.data.pdf import read_pdf
from tuneward.data.word import read_docx
from tuneward.domain.record import Source

_PARQUET_BATCH_ROWS: Final = 512


class Reader(Protocol):
    """Reads one format.

    Law: memory does not grow with the file; the same file gives the same rows; nothing is skipped silently.
    """

    def __call__(self, file: DataFile, faults: Faults, /) -> Iterator[Row]:
        """Yield rows in file order; what cannot be read becomes a fault with its line."""


def read(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Read ``file`` with the reader of its suffix; fields too large for any row become faults."""
    reader = READERS.get(file.path.suffix.lower())
    if reader is None:
        cure = f"convert it to one of {', '.join(READERS)}"
        faults.add("TW-DATA-004", f"`{file.path.suffix or 'no suffix'}` is not read", place=file.name, cure=cure)
        return
    try:
        for row in reader(file, faults):
            large = [k for k, v in row.values.items() if isinstance(v, str) and len(v) > MAX_FIELD_CHARACTERS]
            for column in large:
                faults.add(
                    "TW-DATA-014",
                    f"column `{column[:80]}` holds more than {MAX_FIELD_CHARACTERS:,} characters",
                    place=str(row.source),
                    cure="split the text over rows, or check for a missing quote or line end",
                )
            if not large:
                yield row
    except OSError as error:
        faults.add("TW-DATA-005", f"cannot be read: {error.strerror}", place=file.name, cure="check the disk and retry")


def read_jsonl(file: DataFile, faults: Faults) -> Iterator[Row]:
    """One JSON object a line (jsonlines.org); blank lines are passed over."""
    for number, line in read_lines(file, faults):
        if line is None or not line.strip():
            continue
        place = f"{file.name}:{number}"
        try:
            value = parse_json(line)
        except json.JSONDecodeError as error:
            cut = error.pos >= len(line.rstrip()) or error.msg.startswith("Unterminated string")
            faults.add(
                "TW-DATA-008",
                "the line ends in the middle of a value" if cut else f"not valid JSON at column {error.colno}",
                place=place,
                cure="complete or delete the line" if cut else "write one JSON object per line",
            )
            continue
        except ValueError as error:
            reason = str(error) if "JSON" in str(error) or "deeply" in str(error) else "a number is too long"
            faults.add("TW-DATA-008", reason, place=place, cure="write one JSON object per line")
            continue
        if not isinstance(value, dict):
            kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a bare value")
            cure = 'write one object per line, as in {"prompt": …, "answer": …}'
            faults.add("TW-DATA-009", f"{kind}, not an object", place=place, cure=cure)
            continue
        yield Row(value, Source(file.name, file.digest, number))


def read_csv(file: DataFile, faults: Faults) -> Iterator[Row]:
    """CSV with a header (RFC 4180), separated by comma, semicolon or tab, whichever the header has most of."""
    csv.field_size_limit(4 * MAX_LINE_BYTES)
    lines = _CsvLines(read_lines(file, faults))
    first = next(lines, "")
    lines.push_back(first)
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = lines.next_number
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            cure = "double the quotes inside quoted fields, and close every quote"
            faults.add("TW-DATA-012", f"{error} in the row that begins here", place=f"{file.name}:{start}", cure=cure)
            return
        if lines.damaged:
            lines.damaged = False
            if header is None:
                return
            continue
        if header is None:
            header = fields
            if not _header_is_sound(header, f"{file.name}:{start}", faults):
                return
        elif fields and len(fields) != len(header):
            faults.add(
                "TW-DATA-010",
                f"{len(fields)} fields where the header has {len(header)}",
                place=f"{file.name}:{start}",
                cure="quote fields that hold the separator or a line end",
            )
        elif fields:
            yield Row(dict(zip(header, fields, strict=True)), Source(file.name, file.digest, start))


class _CsvLines:
    """Lines for :mod:`csv` that remembers where it is and whether a line was unusable."""

    def __init__(self, lines: Iterator[tuple[int, str | None]]) -> None:
        self._lines = lines
        self._waiting: list[str] = []
        self._number = 0
        self.damaged = False

    @property
    def next_number(self) -> int:
        return self._number + 1 - len(self._waiting)

    def push_back(self, line: str) -> None:
        if line:
            self._waiting.append(line)

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        if self._waiting:
            return self._waiting.pop()
        self._number, line = next(self._lines)
        if line is None:
            self.damaged = True
            return "\n"
        return line


def _header_is_sound(header: list[str], place: str, faults: Faults) -> bool:
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    for name in twice:
        faults.add("TW-DATA-011", f"column `{name[:80]}` stands twice", place=place, cure="rename one of the columns")
    blank = [index for index, name in enumerate(header, start=1) if not name.strip()]
    for index in blank:
        faults.add("TW-DATA-011", f"column {index} has no name", place=place, cure="give every column a name")
    return not twice and not blank


def read_parquet(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Apache Parquet; a row's place is its number in the file, from 1."""
    number, opened = 0, False
    try:
        with pyarrow.parquet.ParquetFile(file.path) as parquet:
            opened = True
            if not _header_is_sound(parquet.schema_arrow.names, file.name, faults):
                return
            for batch in parquet.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
                for values in _written_out(batch).to_pylist():
                    number += 1
                    yield Row(values, Source(file.name, file.digest, number))
    except UnicodeDecodeError:
        place, cure = f"{file.name}:{number + 1}", "write text columns as UTF-8"
        faults.add(
            "TW-DATA-006", f"a text within the next {_PARQUET_BATCH_ROWS} rows is not UTF-8", place=place, cure=cure
        )
    except OverflowError:
        place, cure = f"{file.name}:{number + 1}", "write times that stand inside lists and objects as text"
        faults.add("TW-DATA-013", "a time inside a value is out of range", place=place, cure=cure)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = "cannot be decoded" if opened else "is not a Parquet file, or its end is missing"
        cure = f"write it again ({type(error).__name__})"
        faults.add("TW-DATA-013", reason, place=f"{file.name}:{number + 1}" if opened else file.name, cure=cure)


def _written_out(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """Times and dates as text: Python's own hold neither nanoseconds nor years past 9999."""
    columns = [
        column.cast(pyarrow.string()) if pyarrow.types.is_temporal(column.type) else column for column in batch.columns
    ]
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


#: Suffix → reader.
READERS: Mapping[str, Reader] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".md": read_text,
    ".markdown": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
