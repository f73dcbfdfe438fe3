"""Record: one training or test example, and where it came from."""

from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Source:
    """Where a record was read.

    Attributes:
        path: the file as the project names it.
        file_digest: SHA-256 of the file.
        line: 1-based line (JSONL, CSV) or row (Parquet).
    """

    path: str
    file_digest: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Record:
    """One example as messages; the last message is the assistant's answer.

    Attributes:
        id: ``rec_`` and a keyed digest of source and content: the same on every read with the same site key.
        messages: the conversation, answers included.
        source: where it was read.
        subject: keyed pseudonym of the data subject, or None where no column names one.
        split: train or test.
    """

    id: str
    messages: tuple[Message, ...]
    source: Source
    subject: str | None
    split: Split

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the final answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The text of the final answer."""
        return self.messages[-1].content

    def to_json(self) -> dict[str, Any]:
        """One line of a prepared dataset's JSONL."""
        return {
            "id": self.id,
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "source": {"path": self.source.path, "file_digest": self.source.file_digest, "line": self.source.line},
            "subject": self.subject,
            "split": self.split,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Record":
        """Inverse of :meth:`to_json`."""
        return cls(
            id=value["id"],
            messages=tuple(Message(role=m["role"], content=m["content"]) for m in value["messages"]),
            source=Source(**value["source"]),
            subject=value["subject"],
            split=value["split"],
        )
