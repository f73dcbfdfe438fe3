"""Delimited text: rows of CSV and TSV.

Place on the road: a reader of ``data.readers``. Keeps one row in memory; a row is named by the line on which it begins.
Knows neither prompts nor answers. Sources: RFC 4180; the media type text/tab-separated-values (IANA), whose fields know
no quotes: programs write TSV in both ways.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import Literal

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.header import is_sound
from tuneward.data.lines import MAX_LINE_BYTES, Row, read_lines
from tuneward.domain.record import Source


def read_csv(file: DataFile, faults: Faults) -> Iterator[Row]:
    """CSV with a header, separated by comma, semicolon or tab, whichever the header has most of; TSV by tab.

    Quotes in a TSV are characters like any other where they do not enclose fields (:func:`quotes_enclose`).
    """
    csv.field_size_limit(4 * MAX_LINE_BYTES)
    lines = _CsvLines(read_lines(file, faults))
    first = next(lines, "")
    lines.push_back(first)
    delimiter = "\t" if file.kind == ".tsv" else max(",;\t", key=first.count)
    quoted = file.kind != ".tsv" or quotes_enclose(line for _, line in read_lines(file, Faults()))
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    rows = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
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
            if not is_sound(header, f"{file.name}:{start}", faults):
                return
        elif fields and len(fields) != len(header):
            faults.add(
                "TW-DATA-010",
                f"{len(fields):,} fields where the header has {len(header):,}",
                place=f"{file.name}:{start}",
                cure="quote fields that hold the separator or a line end",
            )
        elif fields:
            yield Row(dict(zip(header, fields, strict=True)), Source(file.name, file.digest, start))


def quotes_enclose(lines: Iterable[str | None]) -> bool:
    """Whether the quotes of a TSV enclose fields, as in CSV.

    They do not where some field begins with a quote that is not closed at the field's end, and every line has as many
    tabs as the first one, so that no field can go on in the next line.
    """
    tabs, broken = None, False
    for line in lines:
        if line is None:
            continue
        tabs = line.count("\t") if tabs is None else tabs
        if line.strip("\n") and line.count("\t") != tabs:
            return True
        if not broken and '"' in line:
            broken = any(_is_broken(field) for field in line.rstrip("\n").split("\t"))
    return not broken


def _is_broken(field: str) -> bool:
    """Whether a field begins with a quote and is no quoted field."""
    return field.startswith('"') and (len(field) < 2 or not field.endswith('"') or '"' in field[1:-1].replace('""', ""))


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
