"""Sample: the few rows that the self-check works on, in each form that a method learns from.

Place on the road: between a prepared dataset (or none) and the checks. The project's own rows are taken in the order of
a digest of their ids, so that every run takes the same; where there are too few, built-in conversations join them.
Knows no tokenizer and loads no torch.
"""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tuneward.digests import digest_bytes
from tuneward.domain.record import Message, Record, Source
from tuneward.errors import DataError, Fault

#: Rows that are taken of a dataset, among its first ``MOST_LINES``; longer than ``MOST_CHARACTERS`` only if all are.
ROWS, MOST_LINES, MOST_CHARACTERS = 5, 5_000, 1_600
#: Fewer than this are filled up with built-in conversations.
FEWEST = 4
BUILT_IN = "built-in"


@dataclass(frozen=True)
class Sample:
    """Records to check with.

    Attributes:
        records: at least ``FEWEST``.
        own: ids of those that come from the dataset.
    """

    records: tuple[Record, ...]
    own: tuple[str, ...]

    @property
    def conversations(self) -> list[Record]:
        """Records with turns; built-in ones where the dataset holds documents only."""
        talks = [record for record in self.records if record.messages[-1].role == "assistant"]
        return talks if len(talks) >= FEWEST else [*talks, *built_in()]

    @property
    def pairs(self) -> list[Record]:
        """Conversations with a second answer: their own, or another row's where they have none."""
        talks = self.conversations
        return [
            talk if talk.rejected else replace(talk, rejected=_other(talk, [*talks[number + 1 :], *talks]))
            for number, talk in enumerate(talks)
        ]

    @property
    def judged(self) -> list[Record]:
        """Conversations with a verdict: their own, or good and bad in turn."""
        return [
            replace(talk, rejected=None, desirable=number % 2 == 0 if talk.desirable is None else talk.desirable)
            for number, talk in enumerate(self.conversations)
        ]


def draw(file: Path | None) -> Sample:
    """Take rows of a prepared ``train.jsonl``; built-in ones only where it is None.

    Raises:
        DataError: a line is no prepared record.
    """
    own: list[Record] = []
    if file is not None:
        with file.open("rb") as lines:
            own = _choose([line for line in islice(lines, MOST_LINES) if line.strip()], file.name)
    return Sample((*own, *built_in()[: max(0, FEWEST - len(own))]), tuple(record.id for record in own))


def write(records: Iterable[Record], file: Path) -> Path:
    """Write records as ``prepare`` does."""
    file.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records), encoding="utf-8")
    return file


def _choose(lines: Sequence[bytes], place: str) -> list[Record]:
    short = [line for line in lines if len(line) <= MOST_CHARACTERS]
    if len(short) < ROWS:
        short = heapq.nsmallest(ROWS, lines, key=len)
    chosen = heapq.nsmallest(ROWS, short, key=digest_bytes)
    try:
        return [Record.from_json(json.loads(line)) for line in chosen]
    except (ValueError, KeyError, TypeError):
        told = "a line is no prepared record"
        raise DataError(Fault("TW-TRAIN-001", told, place, "run `tuneward prepare` again")) from None


def _other(record: Record, others: Sequence[Record]) -> Message:
    """An answer that the record does not have."""
    for other in others:
        answer = other.messages[-1]
        if answer.content.strip() != record.answer.strip() and not answer.tool_calls:
            return answer
    return Message("assistant", f"No. {record.answer}".strip())


def built_in() -> list[Record]:
    """Conversations of one and of several turns, with figures, accents, braces and more than one script."""
    talks: tuple[tuple[tuple[str, str], ...], ...] = (
        (("user", "What is the capital of France?"), ("assistant", "Paris.")),
        (
            ("user", "Name three colours."),
            ("assistant", "Red, green and blue."),
            ("user", "And one more, please."),
            ("assistant", "Violet."),
        ),
        (
            ("system", "Answer with a record."),
            ("user", "Table for 12 at 19:30, naïve café"),
            ("assistant", '{"table": 12, "time": "19:30"}'),
        ),
        (("user", "Say thanks in Japanese."), ("assistant", "ありがとう — that is “thank you”.")),
    )
    source = Source(BUILT_IN, "0" * 64, 1)
    return [
        Record(
            id=f"{BUILT_IN}-{number}",
            messages=tuple(Message(role, text) for role, text in talk),  # type: ignore[arg-type]
            source=replace(source, line=number),
            subject=None,
            split="train",
        )
        for number, talk in enumerate(talks, start=1)
    ]
