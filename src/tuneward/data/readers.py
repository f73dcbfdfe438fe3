"""Readers: from a file to rows, one at a time, each with its place.

Place on the road: ``data.files`` → here → ``data.records``. A reader is chosen by the file's suffix from one explicit
dict. It keeps no more than one row (Parquet: one batch) in memory, goes on after a fault so that all of them are told,
and never repeats a row's text in a fault. Knows nothing of prompts and answers. A byte order mark and CRLF are read as
if they were not there.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NoReturn, Protocol

import pyarrow
import pyarrow.parquet

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.domain.record import Source

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_FIELD_CHARACTERS: Final = 2_000_000
_PARQUET_BATCH_ROWS: Final = 512
_BOM: Final = b"\xef\xbb\xbf"
_FOREIGN_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read: column → value, and its place."""

    values: Mapping[str, Any]
    source: Source


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


def _lines(file: DataFile, faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield (line number, text or None where it is unusable); line ends stay, BOM and CR before LF go."""
    with file.path.open("rb") as handle:
        if handle.read(4).startswith(_FOREIGN_MARKS):
            faults.add("TW-DATA-006", "is UTF-16 or UTF-32, not UTF-8", place=file.name, cure="save it as UTF-8")
            return
        handle.seek(0)
        offset, number = 0, 0
        while raw := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{file.name}:{number}"
            if len(raw) > MAX_LINE_BYTES:
                skipped = _skip_line(handle)
                faults.add(
                    "TW-DATA-014",
                    f"the line has more than {MAX_LINE_BYTES // 2**20} MiB",
                    place=place,
                    cure="one row per line; check for missing line ends",
                )
                offset += len(raw) + skipped
                yield number, None
                continue
            start, offset = offset, offset + len(raw)
            if number == 1 and raw.startswith(_BOM):
                raw, start = raw[3:], start + 3
            yield number, _decode(raw, start, place, faults)


def _decode(raw: bytes, start: int, place: str, faults: Faults) -> str | None:
    if b"\x00" in raw:
        message = f"byte {start + raw.index(0)} of the file is NUL"
        faults.add("TW-DATA-007", message, place=place, cure="the file is damaged or not text; export it again")
        return None
    if raw.endswith(b"\r\n"):
        raw = raw[:-2] + b"\n"
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {start + error.start} of the file (0x{raw[error.start]:02x}) is not UTF-8"
        faults.add("TW-DATA-006", message, place=place, cure="save the file as UTF-8")
        return None


def _skip_line(handle: BinaryIO) -> int:
    skipped = 0
    while part := handle.readline(MAX_LINE_BYTES):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one JSON object")
    return value


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def parse_json(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no infinities, and no key twice (section 4 leaves its meaning open).

    Raises:
        ValueError: where it is no JSON, or nested too deeply to be read.
    """
    try:
        return _JSON.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_jsonl(file: DataFile, faults: Faults) -> Iterator[Row]:
    """One JSON object a line (jsonlines.org); blank lines are passed over."""
    for number, line in _lines(file, faults):
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
    lines = _CsvLines(_lines(file, faults))
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
}
