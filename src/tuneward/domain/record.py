"""Record: one training or test example, and where it came from."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tuneward.domain.law import Terms

#: ``tool`` is what a tool gave back; ``document`` is a passage without any turn, for continued pretraining.
Role = Literal["system", "user", "assistant", "tool", "document"]
#: ``reserve``: rows that neither train nor test, the non-members of the memorisation test.
Split = Literal["train", "test", "reserve"]
#: What a row is: a passage; a conversation; a pair of answers to one prompt; an answer and its verdict.
Form = Literal["document", "conversation", "pair", "judged"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks.
        content: what is said; may be empty where the turn only calls tools, or where a tool gave nothing back.
        tool_calls: JSON text of the calls that an assistant turn makes (OpenAI's list, compact, keys in their order).
    """

    role: Role
    content: str
    tool_calls: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The message as it stands in a prepared dataset; what is None is left out."""
        value = {"role": self.role, "content": self.content}
        return value if self.tool_calls is None else {**value, "tool_calls": self.tool_calls}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Message":
        """Inverse of :meth:`to_json`."""
        return cls(role=value["role"], content=value["content"], tool_calls=value.get("tool_calls"))


@dataclass(frozen=True)
class Source:
    """Where a record was read.

    Attributes:
        path: the file as the project names it.
        file_digest: SHA-256 of the file.
        line: 1-based line (JSONL, CSV, plain text, mailboxes), row (JSON, Parquet, Arrow), page (PDF) or section (HTML,
            DOCX, mails).
    """

    path: str
    file_digest: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Record:
    """One example as messages; the last message is the assistant's answer, or a document stands alone.

    Four kinds of rows are records: a conversation (SFT); one with ``rejected`` (a pair: ``messages[-1]`` is the better
    answer); one with ``desirable`` (KTO); and a single message of the role ``document`` (continued pretraining).

    Attributes:
        id: ``rec_`` and a keyed digest of source and content: the same on every read with the same site key.
        messages: the conversation, answers included.
        source: where it was read.
        subject: keyed pseudonym of the data subject, or None where no column names one.
        split: train, test or reserve.
        rejected: the worse answer to the same prompt.
        desirable: whether the answer is one to move towards (True) or away from (False).
        margin: by how much the better answer of a pair is better, on the scale of whoever judged.
        tools: JSON text of the tools that the model may call (OpenAI's list, compact, keys in their order).
        terms: under which terms it may be used. They stand beside the row, not in it: the same row under other terms
            trains the same weights.
    """

    id: str
    messages: tuple[Message, ...]
    source: Source
    subject: str | None
    split: Split
    rejected: Message | None = None
    desirable: bool | None = None
    margin: float | None = None
    tools: str | None = None
    terms: Terms | None = field(default=None, compare=False)

    @property
    def form(self) -> Form:
        """What kind of row it is."""
        if self.rejected is not None:
            return "pair"
        if self.desirable is not None:
            return "judged"
        return "document" if self.messages[-1].role == "document" else "conversation"

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the final answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The text of the final answer."""
        return self.messages[-1].content

    def to_json(self) -> dict[str, Any]:
        """One line of a prepared dataset's JSONL; what only other kinds of rows have is left out."""
        value = {
            "id": self.id,
            "messages": [message.to_json() for message in self.messages],
            "source": {"path": self.source.path, "file_digest": self.source.file_digest, "line": self.source.line},
            "subject": self.subject,
            "split": self.split,
        }
        further = {
            "rejected": self.rejected.to_json() if self.rejected else None,
            "desirable": self.desirable,
            "margin": self.margin,
            "tools": self.tools,
        }
        return value | {name: part for name, part in further.items() if part is not None}

    @classmethod
    def from_json(cls, value: dict[str, Any], terms: Terms | None = None) -> "Record":
        """Inverse of :meth:`to_json`; its terms, which stand beside it, where they are known."""
        return cls(
            id=value["id"],
            messages=tuple(Message.from_json(message) for message in value["messages"]),
            source=Source(**value["source"]),
            subject=value["subject"],
            split=value["split"],
            rejected=Message.from_json(value["rejected"]) if "rejected" in value else None,
            desirable=value.get("desirable"),
            margin=value.get("margin"),
            tools=value.get("tools"),
            terms=terms,
        )
