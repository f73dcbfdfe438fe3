"""Drafts: questions and answers that a model wrote about passages of documents, held back until a person decides.

Place on the road: beside it, before ``prepare``: documents → passages → drafts → a person → rows that ``data.train``
may name. A draft is linked to its passage by file digest, place and the passage's own digest. Knows files and texts, no
model: whoever asks one hands in what it said.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

from tuneward.data.cut import UncuttableError, cut
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.readers import read
from tuneward.data.reading import compact_json
from tuneward.digests import digest_bytes, digest_value
from tuneward.domain.record import Message

Status = Literal["draft", "accepted", "rejected"]

PASSAGE_CHARACTERS: Final = 2_000
INSTRUCTION: Final = (
    "Write one question that the passage answers, and the answer. Use nothing but the passage. "
    "Write exactly two lines:\nQuestion: …\nAnswer: …"
)
_SHAPE: Final = re.compile(r"\s*Question:(?P<question>[^\n]*)\n\s*Answer:(?P<answer>.*)", re.DOTALL)


@dataclass(frozen=True)
class Passage:
    """A piece of a document.

    Attributes:
        text: what it says.
        path: the document as it was named.
        file_digest: SHA-256 of the document.
        line: line, page or section of the document.
        part: which passage of that section, from 1.
    """

    text: str
    path: str
    file_digest: str
    line: int
    part: int

    @property
    def digest(self) -> str:
        """SHA-256 of its text."""
        return digest_bytes(self.text.encode())


@dataclass(frozen=True)
class Draft:
    """A question and an answer about a passage.

    Attributes:
        id: ``drf_…``, by passage and model: asked again, they give the same draft.
        question: as the model wrote it, or as a person edited it.
        answer: likewise.
        passage: what both are about.
        base: digest of the model that wrote it.
        status: ``draft`` until a person decides.
        edited: whether a person changed its words.
    """

    id: str
    question: str
    answer: str
    passage: Passage
    base: str
    status: Status = "draft"
    edited: bool = False

    def row(self) -> dict[str, object]:
        """An accepted draft as a row that ``data.train`` may name, with where it comes from."""
        return {
            "prompt": self.question,
            "answer": self.answer,
            "draft": self.id,
            "passage": f"{self.passage.path}:{self.passage.line}",
            "passage_digest": self.passage.digest,
            "document_digest": self.passage.file_digest,
            "drafted_by": self.base,
            "edited": self.edited,
        }


def passages_of(file: DataFile, faults: Faults) -> Iterator[Passage]:
    """The passages of a document, cut at paragraphs where they can be; a fault where the file holds rows instead."""
    for row in read(file, faults):
        text = row.values.get("text")
        if tuple(row.values) != ("text",) or not isinstance(text, str):
            cure = "name documents: text, Markdown, HTML, PDF, DOCX, mails"
            faults.add("TW-DATA-049", "holds rows, no documents", place=file.name, cure=cure)
            return
        try:
            pieces = cut(text, size=len, limit=PASSAGE_CHARACTERS)[0]
        except UncuttableError:
            cure = "take it out, or break its longest word"
            message = f"a word has more than {PASSAGE_CHARACTERS:,} characters"
            faults.add("TW-DATA-049", message, place=str(row.source), cure=cure)
            continue
        for part, piece in enumerate((piece for piece in pieces if piece.strip()), start=1):
            yield Passage(piece.strip(), file.name, file.digest, row.source.line, part)


def draft_id(passage: Passage, base: str) -> str:
    """The id of the draft that a model writes about a passage."""
    place = [passage.file_digest, passage.line, passage.part, passage.digest, base]
    return "drf_" + digest_value(place)[:24]


def question_about(passage: Passage) -> tuple[Message, ...]:
    """What the model is asked."""
    return (Message("system", INSTRUCTION), Message("user", f"Passage:\n{passage.text}"))


def draft_from(said: str, passage: Passage, base: str) -> Draft | None:
    """The draft that a model's words are; None where they have not the form that was asked for."""
    found = _SHAPE.match(said)
    if found is None or not found["question"].strip() or not found["answer"].strip():
        return None
    question, answer = found["question"].strip(), found["answer"].strip()
    return Draft(draft_id(passage, base), question, answer, passage, base)


def read_drafts(path: Path) -> list[Draft]:
    """The drafts of a file in their order; none where there is no file."""
    if not path.exists():
        return []
    with path.open("rb") as handle:
        return [_draft(json.loads(line)) for line in handle]


def drafts_text(drafts: Iterable[Draft]) -> bytes:
    """The bytes of a file of drafts; law: what :func:`read_drafts` gives back."""
    return "".join(compact_json(asdict(draft)) + "\n" for draft in drafts).encode()


def accepted_text(drafts: Iterable[Draft]) -> bytes:
    """The accepted drafts as JSONL."""
    return "".join(compact_json(draft.row()) + "\n" for draft in drafts if draft.status == "accepted").encode()


def edited(draft: Draft, question: str, answer: str) -> Draft:
    """The draft with other words; what is blank stays as it was."""
    question, answer = question.strip() or draft.question, answer.strip() or draft.answer
    changed = draft.edited or (question, answer) != (draft.question, draft.answer)
    return replace(draft, question=question, answer=answer, edited=changed)


def _draft(value: dict[str, object]) -> Draft:
    return Draft(**{**value, "passage": Passage(**value["passage"])})  # type: ignore[arg-type]
