"""Lines: a file of text line by line, each with its number; and the row that every reader makes.

Place on the road: beneath ``data.readers`` and ``data.documents``. UTF-8 only; a byte order mark and CRLF are read as
if they were not there. Keeps one line in memory, goes on after a fault, never repeats a line's text in one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.domain.record import Source

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_FIELD_CHARACTERS: Final = 2_000_000
_BOM: Final = b"\xef\xbb\xbf"
_FOREIGN_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read: column → value, and its place."""

    values: Mapping[str, Any]
    source: Source


def read_lines(file: DataFile, faults: Faults) -> Iterator[tuple[int, str | None]]:
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
