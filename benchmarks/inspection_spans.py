"""Spans: the marked texts, their two halves, and one scorer for every contender.

The texts are presidio-research's 1,500 synthetic sentences with gold spans of 17 types. They were made from templates,
so a sentence is known to who has seen another of its template: the halves hold different templates. Even numbers were
looked at while rules were written; odd ones are for the report only. Knows no contender.
"""

import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.turns import RESAMPLES

#: Types with a form of their own, for which no model of language is needed.
STRUCTURED = (
    "CREDIT_CARD", "DATE_TIME", "DOMAIN_NAME", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER",
    "US_DRIVER_LICENSE", "US_SSN", "ZIP_CODE",
)  # fmt: skip
#: Our kind → gold types that it may stand for; the first is charged with a false alarm. Others are not scored.
OURS: Mapping[str, tuple[str, ...]] = {
    "address": ("STREET_ADDRESS",),
    "age": ("AGE",),
    "card": ("CREDIT_CARD",),
    "date": ("DATE_TIME",),
    "date_of_birth": ("DATE_TIME",),
    "driving_licence": ("US_DRIVER_LICENSE",),
    "email": ("EMAIL_ADDRESS",),
    "iban": ("IBAN_CODE",),
    "ip": ("IP_ADDRESS",),
    "national_id": ("US_SSN",),
    "nationality": ("NRP",),
    "organisation": ("ORGANIZATION",),
    "person": ("PERSON",),
    "phone": ("PHONE_NUMBER",),
    "place": ("GPE", "STREET_ADDRESS"),
    "postcode": ("ZIP_CODE", "STREET_ADDRESS"),
    "special_ethnicity": ("NRP",),
    "special_politics": ("NRP",),
    "special_religion": ("NRP",),
    "title": ("TITLE",),
    "url": ("DOMAIN_NAME",),
}
#: Presidio's entity → gold types, with the same leave.
PRESIDIO: Mapping[str, tuple[str, ...]] = {
    "CREDIT_CARD": ("CREDIT_CARD",),
    "DATE_TIME": ("DATE_TIME", "AGE"),
    "EMAIL_ADDRESS": ("EMAIL_ADDRESS",),
    "IBAN_CODE": ("IBAN_CODE",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "LOCATION": ("GPE", "STREET_ADDRESS"),
    "NRP": ("NRP",),
    "ORGANIZATION": ("ORGANIZATION",),
    "PERSON": ("PERSON",),
    "PHONE_NUMBER": ("PHONE_NUMBER",),
    "URL": ("DOMAIN_NAME",),
    "US_DRIVER_LICENSE": ("US_DRIVER_LICENSE",),
    "US_SSN": ("US_SSN",),
}
_BETWEEN = re.compile(r"[\s,]*")
_EDGES = " \t\r\n.,;:!?'\"()"

Match = Literal["exact", "overlap"]


@dataclass(frozen=True)
class Span:
    """Characters of a text and the types that they may have; a gold span has one."""

    start: int
    end: int
    types: tuple[str, ...]
    confidence: float = 1.0


@dataclass(frozen=True)
class Marked:
    """A text with its gold spans, and the template that it was made from."""

    text: str
    gold: tuple[Span, ...]
    template: int


@dataclass
class Count:
    """Found and right of one type.

    Attributes:
        right: predictions that match a gold span.
        said: predictions.
        found: gold spans that a prediction matches.
        gold: gold spans.
    """

    right: int = 0
    said: int = 0
    found: int = 0
    gold: int = 0

    def __add__(self, other: "Count") -> "Count":
        right, said = self.right + other.right, self.said + other.said
        return Count(right, said, self.found + other.found, self.gold + other.gold)

    @property
    def precision(self) -> float:
        """Right predictions among all; 0 where nothing was said."""
        return self.right / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        """Found spans among all."""
        return self.found / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


Counts = dict[str, Count]


@dataclass
class Score:
    """Counts of each text, type by type; sums and intervals come from them.

    Attributes:
        texts: one for each text, in the order of the texts.
    """

    texts: list[Counts] = field(default_factory=list)

    def of(self, types: Iterable[str] | None = None) -> Count:
        """All texts together, of ``types`` or of all."""
        wanted = None if types is None else set(types)
        return sum((c for t in self.texts for k, c in t.items() if wanted is None or k in wanted), Count())

    @property
    def types(self) -> list[str]:
        """Every type that occurs."""
        return sorted({kind for text in self.texts for kind in text})

    def interval(self, types: Iterable[str] | None = None, *, less: "Score | None" = None) -> tuple[float, float]:
        """95% interval of F1, or of its distance to ``less`` over the same texts: bootstrap over texts."""
        wanted = None if types is None else set(types)
        sides = [_rows(score.texts, wanted) for score in ([self] if less is None else [self, less])]
        draw, drawn, numbers = random.Random(0), [], range(len(self.texts))
        for _ in range(RESAMPLES // 10):
            again = draw.choices(numbers, k=len(numbers))
            values = [
                Count(*(sum(column) for column in zip(*(rows[i] for i in again), strict=True))).f1 for rows in sides
            ]
            drawn.append(values[0] - values[1] if len(values) == 2 else values[0])
        drawn.sort()
        return drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn)) - 1]


def _rows(texts: Sequence[Counts], wanted: set[str] | None) -> list[tuple[int, int, int, int]]:
    rows = []
    for text in texts:
        total = sum((c for k, c in text.items() if wanted is None or k in wanted), Count())
        rows.append((total.right, total.said, total.found, total.gold))
    return rows


def marked_texts(half: Literal["tune", "test"]) -> list[Marked]:
    """The texts of one half.

    Raises:
        SystemExit: ``TUNEWARD_TEST_DATA`` names no folder that holds them.
    """
    path = Path(os.environ.get("TUNEWARD_TEST_DATA", "../shared/data")) / "presidio-research" / "synth_dataset_v2.json"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: set TUNEWARD_TEST_DATA to the folder that holds presidio-research/")
    rows = json.loads(path.read_text(encoding="utf-8"))
    same = defaultdict(set)  # a few templates were entered twice
    for row in rows:
        same[_wording(row["masked"])].add(row["template_id"])
    seen = {wording for wording, numbers in same.items() if any(number % 2 == 0 for number in numbers)}
    chosen = [row for row in rows if (_wording(row["masked"]) in seen) == (half == "tune")]
    return [Marked(row["full_text"], _gold(row), row["template_id"]) for row in chosen]


def _wording(masked: str) -> str:
    return re.sub(r"\W+", " ", masked).lower().strip()


def _gold(row: Mapping[str, object]) -> tuple[Span, ...]:
    text, spans = str(row["full_text"]), row["spans"]
    assert isinstance(spans, list)
    marked = [Span(s["start_position"], s["end_position"], (s["entity_type"],)) for s in spans]
    return tuple(merged(text, marked))


def merged(text: str, spans: Iterable[Span]) -> list[Span]:
    """Trim spans, and join neighbours of the same types: a house number and its street are one address to who reads."""
    joined: list[Span] = []
    for span in sorted((_trimmed(text, span) for span in spans), key=lambda s: (s.start, s.end)):
        last = joined[-1] if joined else None
        if last and last.types == span.types and _BETWEEN.fullmatch(text, last.end, max(span.start, last.end)):
            joined[-1] = Span(last.start, max(last.end, span.end), last.types, max(last.confidence, span.confidence))
        elif span.start < span.end:
            joined.append(span)
    return joined


def _trimmed(text: str, span: Span) -> Span:
    start, end = span.start, span.end
    while start < end and text[start] in _EDGES:
        start += 1
    while start < end and text[end - 1] in _EDGES:
        end -= 1
    return Span(start, end, span.types, span.confidence)


def outermost(spans: Iterable[Span]) -> list[Span]:
    """Without spans that lie in another of at least their confidence, as every contender's redaction does."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (-s.confidence, s.start - s.end, s.start)):
        if not any(other.start <= span.start and span.end <= other.end for other in kept):
            kept.append(span)
    return kept


def score(texts: Sequence[Marked], said: Sequence[Iterable[Span]], match: Match) -> Score:
    """Compare what a contender said with the gold spans, text by text."""
    result = Score()
    for text, spans in zip(texts, said, strict=True):
        counts: Counts = defaultdict(Count)
        predictions = merged(text.text, outermost(spans))
        for gold in text.gold:
            hit = any(_matches(p, gold, match) for p in predictions)
            counts[gold.types[0]] += Count(found=int(hit), gold=1)
        for prediction in predictions:
            right = next((g.types[0] for g in text.gold if _matches(prediction, g, match)), None)
            counts[right or prediction.types[0]] += Count(right=int(right is not None), said=1)
        result.texts.append(dict(counts))
    return result


def _matches(prediction: Span, gold: Span, match: Match) -> bool:
    if gold.types[0] not in prediction.types:
        return False
    if match == "exact":
        return (prediction.start, prediction.end) == (gold.start, gold.end)
    return prediction.start < gold.end and gold.start < prediction.end
