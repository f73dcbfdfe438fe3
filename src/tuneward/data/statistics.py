"""Statistics: how many rows there are, how long, from where and what they are made of.

Place on the road: what ``tuneward data stats`` counts of a prepared dataset. Takes rows one by one and keeps a number
for each. Knows sizes, no texts and no tokens.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuneward.domain.record import Record

PERCENTILES: Final = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class FileStatistics:
    """What of a split came from one file.

    Attributes:
        name: the file as the project names it.
        rows: rows.
        characters: characters of their texts.
    """

    name: str
    rows: int
    characters: int


@dataclass(frozen=True)
class Lengths:
    """Lengths of rows in characters: all texts of a row together, both answers of a pair.

    Attributes:
        shortest: the shortest row.
        mean: a row on average.
        longest: the longest row.
        percentiles: per cent of rows → characters that so many rows do not exceed.
    """

    shortest: int
    mean: float
    longest: int
    percentiles: Mapping[str, int]


@dataclass(frozen=True)
class Statistics:
    """A split.

    Attributes:
        rows: how many rows.
        forms: kind of row → how many.
        characters: characters of all texts.
        answer_characters: those of the assistant's turns, and of the worse answers of pairs.
        turns: role → messages.
        with_tools: rows that list tools.
        with_calls: rows whose assistant calls one.
        subjects: data subjects told apart by their pseudonyms.
        without_subject: rows that name nobody.
        lengths: of rows, or None where there are none.
        files: what came from where, in the order of the rows.
    """

    rows: int
    forms: Mapping[str, int]
    characters: int
    answer_characters: int
    turns: Mapping[str, int]
    with_tools: int
    with_calls: int
    subjects: int
    without_subject: int
    lengths: Lengths | None
    files: tuple[FileStatistics, ...]


def take_statistics(records: Iterable[Record]) -> Statistics:
    """Count rows; those of one split."""
    sizes, answers = array("Q"), 0
    forms: Counter[str] = Counter()
    turns: Counter[str] = Counter()
    rows_of: Counter[str] = Counter()
    characters_of: Counter[str] = Counter()
    tools = calls = without = 0
    subjects: set[str] = set()
    for record in records:
        messages = (*record.messages, record.rejected) if record.rejected else record.messages
        size = sum(len(message.content) + len(message.tool_calls or "") for message in messages)
        sizes.append(size)
        answers += sum(
            len(message.content) + len(message.tool_calls or "") for message in messages if message.role == "assistant"
        )
        forms[record.form] += 1
        turns.update(message.role for message in messages)
        rows_of[record.source.path] += 1
        characters_of[record.source.path] += size
        tools += record.tools is not None
        calls += any(message.tool_calls for message in messages)
        without += record.subject is None
        if record.subject:
            subjects.add(record.subject)
    return Statistics(
        rows=len(sizes),
        forms=dict(sorted(forms.items())),
        characters=sum(sizes),
        answer_characters=answers,
        turns=dict(sorted(turns.items())),
        with_tools=tools,
        with_calls=calls,
        subjects=len(subjects),
        without_subject=without,
        lengths=_lengths(sizes) if sizes else None,
        files=tuple(FileStatistics(name, rows, characters_of[name]) for name, rows in rows_of.items()),
    )


def _lengths(sizes: "array[int]") -> Lengths:
    values = np.frombuffer(sizes, dtype=np.uint64)
    return Lengths(
        shortest=int(values.min()),
        mean=float(values.mean()),
        longest=int(values.max()),
        percentiles={str(p): int(np.percentile(values, p, method="inverted_cdf")) for p in PERCENTILES},
    )
