"""Finding log: everything that inspection found and the policy did not simply allow, on disk, counted as it comes.

Place on the road: ``data.screening`` writes it row by row, the card and the prepared dataset read it. Holds kinds,
places and rules; no text.
"""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.data.named_rows import NAMED
from tuneward.data.spool import Spool
from tuneward.domain.finding import Action, Finding


@dataclass(frozen=True)
class RowFinding:
    """A finding, where it was found and what was done.

    Attributes:
        record: the record's id.
        split: train, test or reserve.
        source: ``file:line``.
        field: see :attr:`data.parts.Part.name`; the span counts characters of this text as it was read, in calls of
            tools of their JSON with the arguments written out.
        finding: kind, span, confidence, rule and view.
        action: what the policy did.
    """

    record: str
    split: str
    source: str
    field: str
    finding: Finding
    action: Action

    def to_json(self) -> dict[str, Any]:
        """One line of ``findings.jsonl``."""
        return {
            "record": self.record,
            "split": self.split,
            "source": self.source,
            "field": self.field,
            **dataclasses.asdict(self.finding),
            "action": self.action,
        }


class FindingLog:
    """Findings in the order of the rows.

    Attributes:
        rows: rows that have any.
        counts: kind → action → findings.
        views: view → findings that only it showed; the raw text aside.
        places: kind → ``file:line`` of the first twenty rows → what was done there first.

    Args:
        folder: on whose disk they lie; see :class:`data.spool.Spool`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.rows = 0
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.views: Counter[str] = Counter()
        self.places: dict[str, dict[str, Action]] = {}
        self._lines = Spool(folder)
        self._sides: Mapping[str, str] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[RowFinding]:
        for line in self._lines:
            record, split, source, field, finding, action = json.loads(line)
            yield RowFinding(record, self._sides.get(record, split), source, field, Finding(*finding), action)

    def add(self, found: list[RowFinding]) -> None:
        """Take what was found in the next row."""
        self.rows += bool(found)
        for item in found:
            finding = item.finding
            self.counts[finding.kind][item.action] += 1
            if finding.view != "raw":
                self.views[finding.view] += 1
            places = self.places.setdefault(finding.kind, {})
            if len(places) < NAMED:
                places.setdefault(item.source, item.action)
            told = (item.record, item.split, item.source, item.field, finding.values, item.action)
            self._lines.add(json.dumps(told).encode())

    def move(self, sides: Mapping[str, str]) -> None:
        """Tell findings of rows that were held out of the training files on which side they stand now.

        Args:
            sides: record id → split.
        """
        self._sides = sides
