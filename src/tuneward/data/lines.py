"""Lines: a file of text line by line, each with its number; and the row that every reader makes.

Place on the road: beneath the readers of text. UTF-8 only, packed or not (``data.unpacking``); a byte order mark and
CRLF are read as if they were not there. Keeps one line in memory, goes on after a fault, never repeats a line's text in
one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.unpacking import opened
from tuneward.domain.record import Source

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_FIELD_CHARACTERS: Final = 2_000_000
BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_WIDEST: Final = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
#: Bytes that Windows-1252 leaves open.
_NOT_WINDOWS: Final = frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D))


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read.

    Attributes:
        values: column → value.
        source: its place.
        attachments: parts of a mail that were counted, not read.
    """

    values: Mapping[str, Any]
    source: Source
    attachments: int = 0


def read_lines(file: DataFile, faults: Faults) -> Iterator[tuple[int, str | None]]:
    """Yield (line number, text or None where it is unusable); line ends stay, BOM and CR before LF go."""
    with opened(file) as handle:
        offset, number = 0, 0
        while raw := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            place = f"{file.name}:{number}"
            if number == 1 and (wide := wide_encoding(raw)):
                say_wide(wide, file, faults)
                return
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
            if number == 1 and raw.startswith(BOM):
                raw, start = raw[3:], start + 3
            yield number, _decode(raw, start, place, faults)


def wide_encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32 where a text begins as these do, with a byte order mark or with ASCII; else None."""
    if start.startswith(_WIDEST) or (len(start) > 3 and any(start[:4]) and b"\0\0\0" in (start[:3], start[1:4])):
        return "UTF-32"
    if start.startswith(_WIDE):
        return "UTF-16"
    even, odd = start[0:16:2], start[1:16:2]
    if len(odd) > 1 and ((not any(even[:-1]) and all(odd)) or (not any(odd) and all(even))):
        return "UTF-16"
    return None


def say_wide(encoding: str, file: DataFile, faults: Faults) -> None:
    """The fault of a text in UTF-16 or UTF-32."""
    cure = f"save it as UTF-8, as in `iconv -f {encoding} -t UTF-8`"
    faults.add("TW-DATA-006", f"is {encoding}, not UTF-8", place=file.name, cure=cure)


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
        say_foreign(raw, error.start, start, place, faults)
        return None


def say_foreign(raw: bytes, index: int, start: int, place: str, faults: Faults) -> None:
    """The fault of a byte that is not UTF-8.

    Args:
        raw: bytes around it.
        index: its place in them.
        start: place in the file of their first.
        place: file and line.
        faults: receives it.
    """
    byte = raw[index]
    message = f"byte {start + index} of the file (0x{byte:02x}) is not UTF-8"
    cure = "save the file as UTF-8"
    if byte not in _NOT_WINDOWS:
        cure += "; these lines may be Windows-1252, as where files were joined"
    faults.add("TW-DATA-006", message, place=place, cure=cure)


def _skip_line(handle: BinaryIO) -> int:
    skipped = 0
    while part := handle.readline(MAX_LINE_BYTES):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
