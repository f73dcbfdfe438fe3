"""Records: from a row to a checked example with an id and a pseudonym.

Place on the road: ``data.readers`` → here → ``data.screening``. Everything that a row can be wrong in is told with its
line. Knows neither files nor what a text may hold.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tuneward.data.columns import Columns, choose_columns, with_optional
from tuneward.data.config import DataConfig
from tuneward.data.conversations import Conversations
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.law import Law
from tuneward.data.lines import Row
from tuneward.data.pairs import Pairs
from tuneward.data.readers import read
from tuneward.data.reading import Cells, Reading, json_type
from tuneward.digests import canonical_json, keyed_digest
from tuneward.domain.law import Terms
from tuneward.domain.record import Form, Message, Record, Split


@dataclass(frozen=True)
class RecordMaker:
    """Makes records; the same rows under the same keys give the same records.

    Attributes:
        config: the project's ``data`` section.
        form: what the method learns from; test files may hold plain conversations instead.
        record_key: key of record ids and row digests.
        subject_key: key of pseudonyms.
        faults: receives what is wrong.
        reading: receives counts.
        law: says under which terms a row came in, and whether it may be used.
    """

    config: DataConfig
    form: Form
    record_key: bytes
    subject_key: bytes
    faults: Faults
    reading: Reading
    law: Law | None = None

    @cached_property
    def _cells(self) -> Cells:
        return Cells(self.faults, self.reading)

    @cached_property
    def _conversations(self) -> Conversations:
        return Conversations(self._cells)

    def records(self, file: DataFile) -> Iterator[Record]:
        """Read a file's usable rows; the others become faults."""
        columns: Columns | None = None
        config = self.law.config_of(file) if self.law else self.config
        rows, faults_before = 0, len(self.faults)
        for row in read(file, self.faults):
            rows += 1
            self.reading.rows[file.split] += 1
            self.reading.attachments += row.attachments
            if columns is None:
                forms: tuple[Form, ...] = (self.form,)
                if file.split == "test" and self.form != "conversation":
                    forms = (self.form, "conversation")
                present = row.values.keys()
                columns = choose_columns(config, present, name=file.name, faults=self.faults, forms=forms)
                if columns is None:
                    return
            columns = with_optional(columns, self.config, row.values.keys())
            self.reading.columns[file.name] = str(columns)
            terms = self.law.terms(row, file) if self.law else None
            record = self._record(row, columns, file.split, terms)
            if record and (self.law is None or (terms is not None and self.law.admits(record))):
                yield record
        if rows == 0 and len(self.faults) == faults_before:
            self.faults.add("TW-DATA-002", "has no rows", place=file.name, cure="add rows below the header")

    def _record(self, row: Row, columns: Columns, split: Split, terms: Terms | None) -> Record | None:
        before = len(self.faults)
        messages, further = self._parts(row, columns)
        subject = self._subject(row, columns)
        if columns.tools:
            value = row.values.get(columns.tools)
            further["tools"] = self._conversations.tools(value, column=columns.tools, place=str(row.source))
        if len(self.faults) > before or messages is None:
            return None
        if self.config.system and messages[0].role not in ("system", "document"):
            messages = (Message("system", self.config.system), *messages)
        record = Record(
            id="", messages=messages, source=row.source, subject=subject, split=split, terms=terms, **further
        )
        return named(record, key=self.record_key)

    def _parts(self, row: Row, columns: Columns) -> tuple[tuple[Message, ...] | None, dict[str, Any]]:
        """The conversation, and what a row of its form has besides."""
        if columns.form == "document":
            assert columns.text
            text = self._cells.text(row, columns.text, "text")
            return (None if text is None else (Message("document", text),)), {}
        if columns.form == "pair":
            prompt = self._prompt(row, columns) if columns.prompt else None
            if columns.prompt and prompt is None:
                return None, {}
            pair = Pairs(self._conversations).read(row, columns, prompt)
            return (None, {}) if pair is None else (pair.chosen, {"rejected": pair.rejected, "margin": pair.margin})
        messages = self._conversation(row, columns) if columns.messages else self._answered(row, columns)
        return messages, {"desirable": self._cells.verdict(row, columns.label)} if columns.label else {}

    def _conversation(self, row: Row, columns: Columns) -> tuple[Message, ...] | None:
        assert columns.messages
        value = row.values.get(columns.messages)
        return self._conversations.read(value, column=columns.messages, place=str(row.source))

    def _prompt(self, row: Row, columns: Columns) -> tuple[Message, ...] | None:
        """The messages of a prompt column: a text, with its further input, or turns."""
        assert columns.prompt
        value = row.values.get(columns.prompt)
        if columns.form == "pair" and isinstance(value, list):
            place = str(row.source)
            return self._conversations.read(value, column=columns.prompt, place=place, answered=False)
        prompt = self._cells.text(row, columns.prompt, "prompt")
        if columns.input and row.values.get(columns.input) not in (None, ""):
            further = self._cells.text(row, columns.input, "prompt")
            prompt = f"{prompt}\n\n{further}" if prompt is not None and further is not None else None
        return None if prompt is None else (Message("user", prompt),)

    def _answered(self, row: Row, columns: Columns) -> tuple[Message, ...] | None:
        assert columns.answer
        prompt = self._prompt(row, columns)
        answer = self._cells.text(row, columns.answer, "answer")
        return None if prompt is None or answer is None else (*prompt, Message("assistant", answer))

    def _subject(self, row: Row, columns: Columns) -> str | None:
        if columns.subject is None:
            return None
        value = row.values.get(columns.subject)
        if value is None or (isinstance(value, str) and not value.strip()):
            self.reading.without_subject += 1
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            message = f"`{columns.subject}` is a {json_type(value)}, not text or a whole number"
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


def named(record: Record, *, key: bytes, part: int | None = None) -> Record:
    """The record under its id: a keyed digest of where it was read and what it says, the same on every read.

    Args:
        record: the record, its id not yet right.
        key: the site's key for records.
        part: number of the piece where a long row was split.
    """
    content: dict[str, Any] = {
        "source": [record.source.path, record.source.file_digest, record.source.line],
        "split": record.split,
        "messages": [[m.role, m.content, *([m.tool_calls] if m.tool_calls else [])] for m in record.messages],
    }
    if record.rejected:
        content["rejected"] = record.rejected.to_json()
    further = {"desirable": record.desirable, "margin": record.margin, "tools": record.tools, "part": part}
    content |= {name: value for name, value in further.items() if value is not None}
    return replace(record, id="rec_" + keyed_digest(key, canonical_json(content))[:40])
