"""What the data tests share: a chat of one token per word, a policy, and a project folder in one call."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tuneward.data.config import DataConfig
from tuneward.data.dataset import build
from tuneward.data.inspecting import Inspecting
from tuneward.data.prepared import Prepared
from tuneward.domain.policy import Policy
from tuneward.domain.record import Message
from tuneward.errors import DataError, Fault, ModelError


@dataclass(frozen=True)
class Words:
    """One token per word of every message, and one at each message's end."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass
class WordChat:
    """Counts words; refuses or masks what it is told to."""

    refuses: str = "\0"
    masks: str = "\0"
    seen: list[tuple[Message, ...]] = field(default_factory=list)

    def example(self, messages: Sequence[Message], /, *, tools: str | None = None) -> Words:
        self.seen.append(tuple(messages))
        labels: list[int] = []
        for message in messages:
            if self.refuses in message.content:
                raise ModelError(Fault("TW-BASE-024", "the template does not take this", "chat template"))
            size = len(message.content.split()) + 1
            learned = message.role == "assistant" and self.masks not in message.content
            labels += [1 if learned else -100] * size
        return Words(tuple(range(len(labels))), tuple(labels))

    def prompt_ids(self, messages: Sequence[Message], /, *, tools: str | None = None) -> list[int]:
        return list(range(sum(len(message.content.split()) + 1 for message in messages)))

    def pair(
        self, prompt: Sequence[Message], chosen: Message, rejected: Message, /, *, tools: str | None = None
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        answers = [[*(crc32(word.encode()) for word in m.content.split()), 0] for m in (chosen, rejected)]
        return self.prompt_ids(prompt), answers[0], answers[1]

    def document(self, text: str, /) -> Words:
        ids = tuple(range(len(text.split()) + 1))
        return Words(ids, ids)


def policy(on_finding: Mapping[str, str] | None = None, contamination: str = "drop") -> Policy:
    return Policy("test", "1", {}, True, on_finding or {"*": "redact"}, False, contamination)


def row(prompt: Any = "What is it?", answer: Any = "A claim.", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answer, **more}


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def prepare(
    folder: Path, *, chat: Any = None, rules: Policy | None = None, tokens: int = 100, **settings: Any
) -> Prepared:
    judge, answer_tokens = settings.pop("judge", None), settings.pop("answer_tokens", 0)
    judge_training = settings.pop("judge_training", True)
    form, inspector = settings.pop("form", "conversation"), settings.pop("inspector", None)
    inspecting = settings.pop("inspecting", None) or (inspector and Inspecting(inspector))
    law = {name: settings.pop(name) for name in ("today", "use", "withdrawn", "base") if name in settings}
    models = {name: settings.pop(name) for name in ("likelihood", "embed") if name in settings}
    config = DataConfig(**{"train": ("train.jsonl",), **settings})
    return build(
        config,
        project_folder=folder,
        chat=chat or WordChat(),
        context_tokens=tokens,
        policy=rules or policy(),
        record_key=b"records",
        subject_key=b"subjects",
        pseudonym_key=b"pseudonyms",
        inspecting=inspecting,
        form=form,
        answer_tokens=answer_tokens,
        judge=judge,
        judge_training=judge_training,
        title="test",
        **law,
        **models,
    )


def refused(folder: Path, **arguments: Any) -> list[tuple[str, str]]:
    """The (code, place) of every fault with which preparing is refused; each must have a cure."""
    with pytest.raises(DataError) as caught:
        prepare(folder, **arguments)
    assert all(fault.cure for fault in caught.value.faults)
    return [(fault.code, fault.place) for fault in caught.value.faults]
