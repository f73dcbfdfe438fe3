"""Reading: a row's values as checked text, and what was counted on the way.

Place on the road: between a row (``data.lines``) and what ``data.records`` makes of it. Knows columns and values, no
conversations. Everything that a value can be wrong in is told with its line, never with its text.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

from tuneward.data.faults import Faults
from tuneward.data.lines import Row
from tuneward.domain.record import Split

_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
_VERDICTS: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass
class Reading:
    """What reading has counted so far.

    Attributes:
        rows: split → rows read.
        repaired_characters: lone surrogates and NUL characters replaced by U+FFFD, since no tokenizer can take them.
        without_subject: rows whose subject column is empty.
        columns: file → what was taken from where.
        attachments: parts of mails that were counted, not read.
    """

    rows: dict[Split, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    repaired_characters: int = 0
    without_subject: int = 0
    columns: dict[str, str] = field(default_factory=dict)
    attachments: int = 0


@dataclass(frozen=True)
class Cells:
    """Reads single values of rows.

    Attributes:
        faults: receives what is wrong.
        reading: receives counts.
    """

    faults: Faults
    reading: Reading

    def text(self, row: Row, column: str, part: str) -> str | None:
        """A column's text; an answer that is an object or a list becomes compact JSON with its keys in order."""
        value = row.values.get(column)
        place = str(row.source)
        if isinstance(value, dict | list) and part == "answer":
            value = self.as_json(value, place, column)
        if column not in row.values:
            self.say_missing(column, place)
        elif value is None or (isinstance(value, str) and not value.strip()):
            code, cure = (
                ("TW-DATA-018", "write the answer") if part == "answer" else ("TW-DATA-019", f"write the {part}")
            )
            message = f"`{column}` is empty" if not value else f"`{column}` holds nothing but whitespace"
            self.faults.add(code, message, place=place, cure=f"{cure}, or delete the row")
        elif not isinstance(value, str):
            wanted = "text, an object or a list" if part == "answer" else "text"
            message = f"`{column}` is a {json_type(value)}, not {wanted}"
            self.faults.add("TW-DATA-016", message, place=place, cure="put it in quotes, or name another column")
        else:
            return self.encodable(value)
        return None

    def as_json(self, value: Any, place: str, column: str) -> Any:
        """Compact JSON text of a value, keys in their order; None and a fault where it has none."""
        try:
            return compact_json(value)
        except (TypeError, ValueError, RecursionError):
            self.faults.add(
                "TW-DATA-016", f"`{column}` has no JSON form", place=place, cure="use text, numbers, lists and objects"
            )
            return None

    def encodable(self, text: str) -> str:
        """The text with U+FFFD for what no tokenizer can take."""
        if not text.isascii() or "\x00" in text:
            text, count = _UNENCODABLE.subn("\ufffd", text)
            self.reading.repaired_characters += count
        return text

    def margin(self, row: Row, column: str) -> float | None:
        """A finite number, or None where nobody said."""
        value = row.values.get(column)
        if value is None or value == "":
            return None
        try:
            number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
        cure = "write a number such as 1.5, or leave it empty"
        self.faults.add("TW-DATA-035", f"`{column}` is no finite number", place=str(row.source), cure=cure)
        return None

    def verdict(self, row: Row, column: str) -> bool | None:
        """``true`` or ``false``, as such, as text or as 1 and 0; anything else is a fault."""
        value = row.values.get(column)
        if column not in row.values:
            self.say_missing(column, str(row.source))
            return None
        found = _VERDICTS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
        if found is None:
            cure = "write true for an answer to move towards, false for one to move away from"
            message = f"`{column}` is neither true nor false"
            self.faults.add("TW-DATA-036", message, place=str(row.source), cure=cure)
        return found

    def say_missing(self, column: str, place: str) -> None:
        """The fault of a row without a column."""
        self.faults.add(
            "TW-DATA-015", f"the row has no `{column}`", place=place, cure="give every row the columns of the first"
        )


def compact_json(value: Any) -> str:
    """JSON text without spaces, keys in their order: what a model is shown must not depend on the alphabet."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_type(value: Any) -> str:
    """How a fault names a value's type."""
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)
