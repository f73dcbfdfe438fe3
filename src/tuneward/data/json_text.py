"""JSON text: a file's text from where it is parsed, element by element, as much of it as each needs.

Place on the road: beneath ``data.json_rows``. The element is parsed by the standard library's decoder once it is whole;
what is held doubles until then, so that the work stays linear. Law: no more is held than one element and one piece.
"""

import json
from typing import Any, BinaryIO, Final

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import BOM, MAX_LINE_BYTES, say_foreign, say_wide, wide_encoding
from tuneward.data.parsing import JSON, TOO_DEEP, is_deep, may_be_deep

PIECE_BYTES: Final = 64 * 1024
#: An element that has to be passed over.
UNUSABLE: Final = object()
_HEAD_BYTES: Final = 16
_SPACE: Final = " \t\r\n"
#: How far before its end a cut text may look broken: the length of two escapes.
_CUT: Final = 16
#: Finds the end of an element that the rules refuse.
_LENIENT: Final = json.JSONDecoder(parse_int=lambda text: 0)


class JsonText:
    """Reads a file's elements.

    Attributes:
        position: in what is held, of the next character.
        failed: whether nothing more can be read; a fault says why.
    """

    def __init__(self, handle: BinaryIO, file: DataFile, faults: Faults) -> None:
        self._handle = handle
        self._file = file
        self._faults = faults
        self._held = ""
        self._begun = b""  # a character whose last bytes stand in the next piece
        self._bytes = 0
        self._lines = 1
        self.position = 0
        self.failed = False

    @property
    def line(self) -> int:
        """The line of the next character."""
        return self._lines + self._held.count("\n", 0, self.position)

    def skip_space(self) -> str:
        """Go on to the next character that is no white space, and tell it; nothing at the end."""
        while True:
            while self.position < len(self._held):
                sign = self._held[self.position]
                if sign not in _SPACE:
                    return sign
                self.position += 1
            if not self._more(PIECE_BYTES):
                return ""

    def value(self, place: str) -> Any:
        """The element that begins here, or :data:`UNUSABLE` and a fault."""
        wanted, decoder, unsound = PIECE_BYTES, JSON, ""
        while True:
            try:
                value, end = decoder.raw_decode(self._held, self.position)
            except RecursionError:
                return self._end("TW-DATA-008", TOO_DEEP, place, "write what is nested deeply as text")
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._held) - _CUT
                if cut and self._grow(wanted, place):
                    wanted *= 2
                    continue
                if not self.failed:
                    say_unsound(error, self._held, place, self._faults, line=self._lines + error.lineno - 1)
                    self.failed = True
                return UNUSABLE
            except ValueError as error:  # no row, but its end can be found
                decoder, unsound = _LENIENT, reason_of(error)
                continue
            if end == len(self._held) and not isinstance(value, dict | list | str) and self._grow(wanted, place):
                continue  # a number may go on in the next piece
            begin, self.position = self.position, end
            if not unsound and may_be_deep(self._held[begin:end]) and is_deep(value):
                unsound = TOO_DEEP
            if unsound:
                self._faults.add("TW-DATA-008", unsound, place=place, cure="mend the row, or delete it")
            return UNUSABLE if unsound else value

    def _grow(self, wanted: int, place: str) -> bool:
        """Hold more of the element; a fault where it is too large."""
        if len(self._held) - self.position > MAX_LINE_BYTES:
            message = f"the row has more than {MAX_LINE_BYTES // 2**20} MiB"
            self._end("TW-DATA-014", message, place, "split it over rows; check for a missing quote or bracket")
            return False
        return self._more(wanted)

    def _more(self, wanted: int) -> bool:
        """Drop what was parsed and hold ``wanted`` bytes more; False where there are none."""
        if self.failed:
            return False
        first = self._bytes == 0 and not self._begun
        piece = self._handle.read(max(wanted, _HEAD_BYTES) if first else wanted)
        if first and (wide := wide_encoding(piece)):
            say_wide(wide, self._file, self._faults)
            self.failed = True
            return False
        text = self._decoded(piece, first=first)
        if self.failed or not piece:
            return False
        self._lines = self.line
        self._held = self._held[self.position :] + text
        self.position = 0
        return True

    def _decoded(self, piece: bytes, *, first: bool) -> str:
        raw = self._begun + (piece.removeprefix(BOM) if first else piece)
        start = self._bytes - len(self._begun) + (len(piece) - len(raw) if first else 0)
        self._bytes += len(piece)
        line = self._lines + self._held.count("\n")
        if b"\0" in raw:
            index = raw.index(0)
            message = f"byte {start + index} of the file (line {line + raw[:index].count(10)}) is NUL"
            self._end("TW-DATA-007", message, self._file.name, "the file is damaged or not text; export it again")
            return ""
        try:
            text = raw.decode("utf-8")
            self._begun = b""
        except UnicodeDecodeError as error:
            if piece and error.end == len(raw) and error.reason == "unexpected end of data":
                self._begun = raw[error.start :]
                return raw[: error.start].decode("utf-8")
            at = f"{self._file.name}:{line + raw[: error.start].count(10)}"
            say_foreign(raw, error.start, start, at, self._faults)
            self.failed = True
            return ""
        return text

    def _end(self, code: str, message: str, place: str, cure: str) -> Any:
        self._faults.add(code, message, place=place, cure=cure)
        self.failed = True
        return UNUSABLE


def reason_of(error: ValueError) -> str:
    """Why a value is not taken, without its text."""
    return str(error) if "JSON" in str(error) or "nested" in str(error) else "a number is too long"


def say_unsound(error: ValueError, text: str, place: str, faults: Faults, *, line: int | None = None) -> None:
    """The fault of a text that is no JSON.

    Args:
        error: what the decoder said.
        text: what it read.
        place: file, and line or row.
        faults: receives it.
        line: the line of an element that may stand on several.
    """
    if not isinstance(error, json.JSONDecodeError):
        faults.add("TW-DATA-008", reason_of(error), place=place, cure="write one JSON object per line")
        return
    cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    if line is not None:
        message = "ends in the middle of a value" if cut else f"not valid JSON at line {line}, column {error.colno}"
        faults.add("TW-DATA-008", message, place=place, cure="complete the file" if cut else "mend it there")
        return
    faults.add(
        "TW-DATA-008",
        "the line ends in the middle of a value" if cut else f"not valid JSON at column {error.colno}",
        place=place,
        cure="complete or delete the line" if cut else "write one JSON object per line",
    )
