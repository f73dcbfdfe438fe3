"""Prepared rows and a small stand-in for ``modeling.chat.Chat``, for tests of training alone."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer

from tuneward.domain.record import Message, Record, Source

WORDS = (
    "the",
    "cat",
    "and",
    "user",
    "there",
    "in",
    "anything",
    "outer",
    "stand",
    "here",
    "{",
    "ring",
    "other",
    "}",
    "late",
)


@dataclass(frozen=True)
class Example:
    ids: tuple[int, ...]
    labels: tuple[int, ...]


class PlainChat:
    """ChatML by hand: answers and their end-of-turn token are learned."""

    def __init__(self, base: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base)

    @property
    def digest(self) -> str:
        return "plain"

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset(self._ids("<|im_end|>"))

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def document(self, text: str) -> Example:
        ids = tuple(self._ids(text + "<|im_end|>"))
        return Example(ids, ids)

    def pair(
        self, prompt: Sequence[Message], chosen: Message, rejected: Message, *, tools: str | None = None
    ) -> tuple[list[int], list[int], list[int]]:
        head = [*self.example(prompt).ids, *self._ids("<|im_start|>assistant\n")]
        return head, self._ids(chosen.content + "<|im_end|>"), self._ids(rejected.content + "<|im_end|>")

    def example(self, messages: Sequence[Message], *, loss_on: str = "answers", tools: str | None = None) -> Example:
        ids: list[int] = []
        labels: list[int] = []
        for message in messages:
            head = self._ids(f"<|im_start|>{message.role}\n")
            body, tail = self._ids(message.content + "<|im_end|>"), self._ids("\n")
            ids += head + body + tail
            learned = message.role == "assistant" or loss_on == "all"
            labels += [-100] * len(head) + (body if learned else [-100] * len(body)) + [-100] * len(tail)
        return Example(tuple(ids), tuple(labels))

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def write_rows(
    path: Path,
    count: int,
    *,
    seed: int = 0,
    prompt_words: int = 12,
    answer_words: int = 6,
    kind: str = "sft",
    subjects: int | None = None,
) -> Path:
    """Random prompts; answers repeat the prompt's first words, so that there is something to learn.

    With ``subjects``, so many take turns as the rows' subjects.

    Kinds: ``sft``; ``pair``, where the worse answer repeats the last words; ``judged``, where every other answer does.
    """
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        prompt = [draw.choice(WORDS) for _ in range(draw.randint(2, prompt_words))]
        answer = prompt[: draw.randint(1, answer_words)]
        worse = [*prompt[::-1][: draw.randint(1, answer_words)], "late"]
        good = kind != "judged" or number % 2 == 0
        messages = (Message("user", " ".join(prompt)), Message("assistant", " ".join(answer if good else worse)))
        record = Record(
            f"rec_{number:04d}",
            messages,
            Source("rows.jsonl", "0" * 64, number + 1),
            None if subjects is None else f"subject-{number % subjects}",
            "train",
            rejected=Message("assistant", " ".join(worse)) if kind == "pair" else None,
            desirable=good if kind == "judged" else None,
        )
        lines.append(json.dumps(record.to_json()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
