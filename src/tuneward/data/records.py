"""Records: from a row to a checked conversation with an id and a pseudonym.

Place on the road: ``data.readers`` → here → ``data.screening``. Everything that a row can be wrong in is told with its
line. Knows neither files nor what a text may hold.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from tuneward.data.columns import Columns, choose_columns
from tuneward.data.config import DataConfig
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.readers import Row, parse_json, read
from tuneward.digests import canonical_json, keyed_digest
from tuneward.domain.record import Message, Record, Role, Source, Split

_ROLES: Final = frozenset(get_args(Role))
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass
class Reading:
    """What reading has counted so far.

    Attributes:
        rows: split → rows read.
        repaired_characters: lone surrogates and NUL characters replaced by U+FFFD, since no tokenizer can take them.
        without_subject: rows whose subject column is empty.
        columns: file → what was taken from where.
    """

    rows: dict[Split, int] = field(default_factory=lambda: {"train": 0, "test": 0})
    repaired_characters: int = 0
    without_subject: int = 0
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordMaker:
    """Makes records; the same rows under the same keys give the same records.

    Attributes:
        config: the project's ``data`` section.
        record_key: key of record ids and row digests.
        subject_key: key of pseudonyms.
        faults: receives what is wrong.
        reading: receives counts.
    """

    config: DataConfig
    record_key: bytes
    subject_key: bytes
    faults: Faults
    reading: Reading

    def records(self, file: DataFile) -> Iterator[Record]:
        """Read a file's usable rows; the others become faults."""
        columns: Columns | None = None
        rows, faults_before = 0, len(self.faults)
        for row in read(file, self.faults):
            rows += 1
            self.reading.rows[file.split] += 1
            if columns is None:
                columns = choose_columns(self.config, row.values.keys(), name=file.name, faults=self.faults)
                if columns is None:
                    return
                self.reading.columns[file.name] = str(columns)
            record = self._record(row, columns, file.split)
            if record:
                yield record
        if rows == 0 and len(self.faults) == faults_before:
            self.faults.add("TW-DATA-002", "has no rows", place=file.name, cure="add rows below the header")

    def _record(self, row: Row, columns: Columns, split: Split) -> Record | None:
        before = len(self.faults)
        messages = self._conversation(row, columns) if columns.messages else self._pair(row, columns)
        subject = self._subject(row, columns)
        if len(self.faults) > before or messages is None:
            return None
        if self.config.system and messages[0].role != "system":
            messages = (Message("system", self.config.system), *messages)
        identifier = record_id(messages, source=row.source, split=split, key=self.record_key)
        return Record(id=identifier, messages=messages, source=row.source, subject=subject, split=split)

    def _pair(self, row: Row, columns: Columns) -> tuple[Message, ...] | None:
        assert columns.prompt
        assert columns.answer
        prompt = self._text(row, columns.prompt, "prompt")
        answer = self._text(row, columns.answer, "answer")
        if columns.input and row.values.get(columns.input) not in (None, ""):
            further = self._text(row, columns.input, "prompt")
            prompt = f"{prompt}\n\n{further}" if prompt is not None and further is not None else None
        if prompt is None or answer is None:
            return None
        return Message("user", prompt), Message("assistant", answer)

    def _text(self, row: Row, column: str, part: str) -> str | None:
        """A column's text; an answer that is an object or a list becomes compact JSON with its keys in order."""
        value = row.values.get(column)
        place = str(row.source)
        if isinstance(value, dict | list) and part == "answer":
            value = self._as_json(value, place, column)
        if column not in row.values:
            cure = "give every row the columns of the first"
            self.faults.add("TW-DATA-015", f"the row has no `{column}`", place=place, cure=cure)
        elif value is None or (isinstance(value, str) and not value.strip()):
            code, cure = (
                ("TW-DATA-018", "write the answer") if part == "answer" else ("TW-DATA-019", "write the prompt")
            )
            message = f"`{column}` is empty" if not value else f"`{column}` holds nothing but whitespace"
            self.faults.add(code, message, place=place, cure=f"{cure}, or delete the row")
        elif not isinstance(value, str):
            wanted = "text, an object or a list" if part == "answer" else "text"
            message = f"`{column}` is a {_json_type(value)}, not {wanted}"
            self.faults.add("TW-DATA-016", message, place=place, cure="put it in quotes, or name another column")
        else:
            return self._encodable(value)
        return None

    def _as_json(self, value: Any, place: str, column: str) -> Any:
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            self.faults.add(
                "TW-DATA-016", f"`{column}` has no JSON form", place=place, cure="use text, numbers, lists and objects"
            )
            return None

    def _conversation(self, row: Row, columns: Columns) -> tuple[Message, ...] | None:
        assert columns.messages
        place = str(row.source)
        turns = row.values.get(columns.messages)
        if isinstance(turns, str):
            try:
                turns = parse_json(turns)
            except ValueError:
                turns = None
        if not isinstance(turns, list) or not turns:
            cure = 'write [{"role": "user", "content": …}, {"role": "assistant", "content": …}]'
            self.faults.add("TW-DATA-016", f"`{columns.messages}` is no list of turns", place=place, cure=cure)
            return None
        messages = [self._turn(turn, number, place, last=number == len(turns)) for number, turn in enumerate(turns, 1)]
        if any(message is None for message in messages):
            return None
        checked = tuple(cast(list[Message], messages))
        return checked if self._in_order(checked, place) else None

    def _turn(self, turn: Any, number: int, place: str, *, last: bool) -> Message | None:
        if not isinstance(turn, Mapping) or "role" not in turn or "content" not in turn:
            message = f"turn {number} has no `role` and `content`"
            self.faults.add("TW-DATA-016", message, place=place, cure="write both as text in every turn")
            return None
        role, content = turn["role"], turn["content"]
        if role not in _ROLES if isinstance(role, str) else True:
            message = f"turn {number} has a role other than {', '.join(sorted(_ROLES))}"
            self.faults.add("TW-DATA-017", message, place=place, cure="rename the role, or delete the turn")
            return None
        if isinstance(content, dict | list) and role == "assistant":
            content = self._as_json(content, place, "content")
        if content is None or (isinstance(content, str) and not content.strip()):
            code = "TW-DATA-018" if role == "assistant" else "TW-DATA-019"
            which = "the last answer" if last and role == "assistant" else f"turn {number}"
            self.faults.add(code, f"{which} is empty", place=place, cure="write it, or delete the row")
            return None
        if not isinstance(content, str):
            message = f"`content` of turn {number} is a {_json_type(content)}, not text"
            self.faults.add("TW-DATA-016", message, place=place, cure="write it as text")
            return None
        return Message(cast(Role, role), self._encodable(content))

    def _in_order(self, messages: tuple[Message, ...], place: str) -> bool:
        turns = messages[1:] if messages[0].role == "system" else messages
        expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
        wrong = next((i for i, (m, role) in enumerate(zip(turns, expected, strict=True)) if m.role != role), None)
        if wrong is not None:
            number = wrong + 1 + len(messages) - len(turns)
            message = f"turn {number} is `{turns[wrong].role}` where `{expected[wrong]}` is due"
            self.faults.add("TW-DATA-017", message, place=place, cure="user and assistant speak in turns, user first")
        elif not turns or turns[-1].role != "assistant":
            cure = "end with an assistant turn: it is what is learned"
            self.faults.add("TW-DATA-017", "the conversation does not end with an answer", place=place, cure=cure)
        else:
            return True
        return False

    def _encodable(self, text: str) -> str:
        if not text.isascii() or "\x00" in text:
            text, count = _UNENCODABLE.subn("\ufffd", text)
            self.reading.repaired_characters += count
        return text

    def _subject(self, row: Row, columns: Columns) -> str | None:
        if columns.subject is None:
            return None
        value = row.values.get(columns.subject)
        if value is None or (isinstance(value, str) and not value.strip()):
            self.reading.without_subject += 1
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            message = f"`{columns.subject}` is a {_json_type(value)}, not text or a whole number"
            self.faults.add("TW-DATA-016", message, place=str(row.source), cure="name subjects by text or number")
            return None
        return pseudonym(str(value), key=self.subject_key)


def pseudonym(subject: str, *, key: bytes) -> str:
    """Name a data subject by HMAC-SHA-256: the same person, the same name, and no way back without the key.

    White space around the name and the way in which its accents are encoded (Unicode NFC, UAX #15) do not count: a row
    must not escape erasure because another system exported it.
    """
    written = unicodedata.normalize("NFC", subject.strip())
    return "sub_" + keyed_digest(key, written.encode("utf-8", "surrogatepass"))[:40]


def record_id(
    messages: tuple[Message, ...], *, source: Source, split: Split, key: bytes, part: int | None = None
) -> str:
    """Name a record by a keyed digest of where it was read and what it says: the same on every read.

    Args:
        messages: the conversation.
        source: where it was read.
        split: train or test.
        key: the site's key for records.
        part: number of the piece where a long conversation was split.
    """
    content: dict[str, Any] = {
        "source": [source.path, source.file_digest, source.line],
        "split": split,
        "messages": [[m.role, m.content] for m in messages],
    }
    if part is not None:
        content["part"] = part
    return "rec_" + keyed_digest(key, canonical_json(content))[:40]


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)
