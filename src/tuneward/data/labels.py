"""Labels: what of a row's answer is a class, and how the classes are spread.

Place on the road: asked by ``data.quality`` for the card and by ``data.division`` for stratifying. A label is a short
answer, a short top-level value of a JSON answer, or a verdict. Knows answers, nothing of the task.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from tuneward.domain.record import Record

_LONGEST: Final = 40
_MOST_CLASSES: Final = 60
_FEWEST_ROWS: Final = 20
#: Share of the most frequent class from which a label is called unbalanced.
UNBALANCED: Final = 0.9


def labels_of(record: Record) -> dict[str, str]:
    """Name → class of everything in the row's answer that may be a label."""
    if record.desirable is not None:
        return {"label": str(record.desirable).lower()}
    if record.form == "document":
        return {}
    answer = record.answer.strip()
    if answer.startswith("{"):
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            return {}
        found = {key: _class_of(part) for key, part in value.items()}
        return {key: name for key, name in found.items() if name is not None}
    return {"answer": answer} if answer and len(answer) <= _LONGEST and "\n" not in answer else {}


def _class_of(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value if isinstance(value, str) and len(value) <= _LONGEST else None


class LabelCounts:
    """Counts classes row by row; what has more than sixty is no label and is forgotten."""

    def __init__(self) -> None:
        self._rows = 0
        self._counts: dict[str, Counter[str]] = {}
        self._free: set[str] = set()

    def add(self, labels: Mapping[str, str]) -> None:
        """Take the labels of one row."""
        self._rows += 1
        for name, value in labels.items():
            if name in self._free:
                continue
            counts = self._counts.setdefault(name, Counter())
            counts[value] += 1
            if len(counts) > _MOST_CLASSES:
                self._free.add(name)
                del self._counts[name]

    def result(self) -> dict[str, dict[str, Any]]:
        """Name → number of classes, share of the most frequent one, of the least, and whether that is unbalanced.

        Classes themselves are not told: a value may be a person's name. A name that fewer than half of the rows have,
        or whose classes have fewer than five rows on average, is left out.
        """
        told = {}
        for name, counts in sorted(self._counts.items()):
            rows = counts.total()
            if rows < _FEWEST_ROWS or rows < self._rows / 2 or len(counts) * 5 > rows:
                continue
            most, least = max(counts.values()) / rows, min(counts.values()) / rows
            told[name] = {
                "classes": len(counts),
                "rows": rows,
                "most_frequent": round(most, 4),
                "least_frequent": round(least, 4),
                "unbalanced": most >= UNBALANCED,
            }
        return told
