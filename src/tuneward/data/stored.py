"""Stored rows: a prepared dataset's folder, read row by row and finding by finding.

Place on the road: after ``data.dataset``, under the commands that look at what was prepared. Holds one row at a time.
Knows no project.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuneward.domain.record import Record
from tuneward.progress import SILENT, Progress


def stored_rows(folder: Path, split: str, *, progress: Progress = SILENT) -> Iterator[Record]:
    """The rows of a split in their order; ``progress`` is told of each."""
    with (folder / f"{split}.jsonl").open("rb") as handle:
        for line in handle:
            progress.advance()
            yield Record.from_json(json.loads(line))


def stored_findings(folder: Path) -> Iterator[Mapping[str, Any]]:
    """What inspection found, in the order of the rows: record, split, source, field, kind, span, rule and action."""
    with (folder / "findings.jsonl").open("rb") as handle:
        for line in handle:
            yield json.loads(line)


def stored_card(folder: Path) -> Mapping[str, Any]:
    """The data card."""
    card: Mapping[str, Any] = json.loads((folder / "card.json").read_bytes())
    return card
