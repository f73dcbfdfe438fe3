"""JSON: rows of JSONL, one object a line, and of JSON, an array of objects or objects one after another.

Place on the road: readers of ``data.readers``. One row is held in memory, also of an array of gigabytes
(``data.json_text``). Both take the same rules (``data.parsing``), tell a fault with its place and never a row's text.
Knows neither prompts nor answers.
"""

from collections.abc import Iterator
from typing import Any

from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.json_text import UNUSABLE, JsonText, say_unsound
from tuneward.data.lines import BOM, MAX_LINE_BYTES, Row, read_lines
from tuneward.data.parsing import parse_json
from tuneward.data.unpacking import opened
from tuneward.domain.record import Source


def read_jsonl(file: DataFile, faults: Faults) -> Iterator[Row]:
    """One JSON object a line (jsonlines.org); blank lines are passed over."""
    for number, line in read_lines(file, faults):
        if line is None or not line.strip():
            continue
        place = f"{file.name}:{number}"
        try:
            value = parse_json(line.removeprefix("\ufeff"))  # where files with byte order marks were joined
        except ValueError as error:
            say_unsound(error, line, place, faults)
            continue
        if _is_row(value, place, faults, cure='write one object per line, as in {"prompt": …, "answer": …}'):
            yield Row(value, Source(file.name, file.digest, number))


def read_json(file: DataFile, faults: Faults) -> Iterator[Row]:
    """An array of objects, or objects one after another; a row's place is its number in the file, from 1.

    A file that holds one object a line is read as JSONL; its places are lines.
    """
    if _begins_as_jsonl(file):
        yield from read_jsonl(file, faults)
        return
    with opened(file) as handle:
        text = JsonText(handle, file, faults)
        sign = text.skip_space()
        if sign == "[":
            text.position += 1
        yield from _elements(text, file, faults, array=sign == "[")


def _begins_as_jsonl(file: DataFile) -> bool:
    with opened(file) as handle:
        head = handle.read(len(BOM) + 1).removeprefix(BOM)
        first = head + handle.readline(MAX_LINE_BYTES + 1) if head.startswith(b"{") else b""
    if not first.endswith(b"\n"):
        return False
    try:
        return isinstance(parse_json(first.decode("utf-8")), dict)
    except ValueError:
        return False


def _elements(text: JsonText, file: DataFile, faults: Faults, *, array: bool) -> Iterator[Row]:
    def say(message: str, cure: str) -> None:
        faults.add("TW-DATA-008", f"{message} (line {text.line})", place=f"{file.name}:{max(number, 1)}", cure=cure)

    number = 0
    while (sign := text.skip_space()) and not (array and sign == "]"):
        if array and number:
            if sign != ",":
                say("no comma follows the row", "separate the rows by commas")
                return
            text.position += 1
            text.skip_space()
        number += 1
        place = f"{file.name}:{number}"
        value = text.value(place)
        if text.failed:
            return
        if value is UNUSABLE:
            continue
        if _is_row(value, place, faults, cure='write objects, as in [{"prompt": …, "answer": …}]'):
            yield Row(value, Source(file.name, file.digest, number))
    if text.failed or not array:
        return
    if sign != "]":
        say("the file ends inside its array, after this row", "complete the file, or close the array with `]`")
        return
    text.position += 1
    if text.skip_space() and not text.failed:
        say("more follows after the array's end, after this row", "write one array of objects, or one object per line")


def _is_row(value: Any, place: str, faults: Faults, *, cure: str) -> bool:
    if isinstance(value, dict):
        return True
    kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value), "a bare value")
    faults.add("TW-DATA-009", f"{kind}, not an object", place=place, cure=cure)
    return False
