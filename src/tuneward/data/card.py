"""The data card: what came in, what left and why, on one page and as JSON.

Place on the road: the last step of ``data.dataset.build``; the approver reads it. Names rows by file and line, never by
their text, and holds no time of day: the same data give the same card.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tuneward.data.answers import AnswerCheck
from tuneward.data.config import DataConfig
from tuneward.data.contamination import Hit
from tuneward.data.division import Division
from tuneward.data.files import DataFile
from tuneward.data.legal import Ledger
from tuneward.data.lengths import Lengths
from tuneward.data.named_rows import NAMED, NamedRows
from tuneward.data.overlap import Overlap
from tuneward.data.quality import Quality
from tuneward.data.reading import Reading
from tuneward.data.row_pairs import Pair
from tuneward.data.screening import Screening
from tuneward.domain.policy import Policy
from tuneward.domain.record import Form, Record, Split
from tuneward.pages import page

_BINS: Final = 24


@dataclass(frozen=True)
class Story:
    """Everything that the card tells of."""

    title: str
    form: Form
    config: DataConfig
    policy: Policy
    context_tokens: int
    files: tuple[DataFile, ...]
    reading: Reading
    screening: Screening
    overlap: Overlap
    quality: Quality
    division: Division
    shards: Sequence[int]
    lengths: Mapping[Split, Lengths]
    check: AnswerCheck
    fingerprint: str
    ledger: Ledger


def make_card(story: Story) -> dict[str, Any]:
    """The card as JSON values; ``card.json`` in the prepared dataset."""
    config, policy = story.config, story.policy
    return {
        "format": "tuneward-data-card/1",
        "title": story.title,
        "fingerprint": story.fingerprint,
        "counts": _counts(story),
        "files": [
            {
                "name": file.name,
                "split": file.split,
                "bytes": file.bytes,
                "sha256": file.digest,
                "columns": story.reading.columns.get(file.name, ""),
            }
            for file in story.files
        ],
        "legal": {
            **story.ledger.table(),
            "legal_basis": config.legal_basis,
            "licence": config.licence,
            "subject_column": config.subject,
            "policy": f"{policy.name} {policy.version}",
            "on_finding": dict(policy.on_finding),
            "contamination": policy.contamination,
        },
        "settings": {
            "too_long": config.too_long,
            "context_tokens": story.context_tokens,
            "system": config.system,
            "quality": config.quality.canonical(),
            "split": config.split.canonical(),
        },
        "lengths": {
            "train_tokens": histogram(story.lengths["train"].tokens),
            "train_answer_tokens": histogram(story.lengths["train"].answer_tokens),
            "test_tokens": histogram(story.lengths["test"].tokens),
        },
        "quality": story.quality.to_json(),
        "division": {
            "held_out": len(story.division.held_out),
            "reserve": len(story.division.reserve),
            "canaries": len(story.division.canaries),
            "subjects_on_two_sides": story.division.on_two_sides,
            "shards": list(story.shards) if len(story.shards) > 1 else [],
        },
        "places": _places(story),
        "not_checked": _not_checked(story.form),
    }


def _not_checked(form: Form) -> list[str]:
    compared = "texts" if form == "document" else "prompts"
    lines = [
        "what no detector knows is not found: docs/inspection.md says what each of them misses",
        f"near-duplicates are compared by shingles of their {compared}, not by meaning",
    ]
    if form == "document":
        lines.append("documents are not searched for the questions and answers of the test set")
    return lines


def _counts(story: Story) -> dict[str, Any]:
    overlap, screening = story.overlap, story.screening
    dropped: dict[Split, dict[str, int]] = {}
    for split in ("train", "test"):
        dropped[split] = {
            "finding": len(screening.dropped[split]),
            "duplicate": len(overlap.duplicates) if split == "train" else 0,
            "contamination": len(overlap.contaminated) + len(overlap.contaminated_near) if split == "train" else 0,
            "too_long": len(story.lengths[split].dropped),
        }
        if left := sum(number for (of, _), number in story.ledger.law.left.items() if of == split):
            dropped[split]["terms"] = left
    quality, division = story.quality, story.division
    removed = {
        "near_duplicate": len(quality.repeated),
        "quality": len(quality.doubted),
        "held_out": len(division.held_out) + len(division.reserve),
    }
    dropped["train"] |= {reason: rows for reason, rows in removed.items() if rows}
    counts: dict[str, Any] = {split: _split_counts(story, split, dropped[split]) for split in ("train", "test")}
    counts["form"] = story.form
    counts["labels"] = _verdicts(story.lengths["train"].kept) if story.form == "judged" else None
    counts["broken_paragraphs"] = story.lengths["train"].broken_paragraphs
    counts["longest_question_tokens"] = story.lengths["test"].longest_question
    counts["findings"] = screening.counts()
    counts["findings_in_views"] = dict(sorted(screening.findings.views.items()))
    counts["rows_with_findings"] = screening.findings.rows
    counts["contradictions"] = len(overlap.contradictions)
    counts["near_duplicates"] = len(overlap.near)
    counts["near_contradictions"] = len(overlap.near_contradictions)
    counts["near_test"] = len(overlap.near_test)
    counts["ngram_test"] = len(overlap.ngram_test)
    counts["covered_test"] = len(overlap.covered)
    counts["test_duplicates"] = len(overlap.test_duplicates)
    counts["repaired_characters"] = story.reading.repaired_characters
    counts["attachments_not_read"] = story.reading.attachments
    counts["without_subject"] = story.reading.without_subject if story.config.subject else None
    counts["quality"] = quality.reasons()
    counts["semantic_duplicates"] = None if quality.meaning is None else len(quality.meaning)
    counts["subjects_on_two_sides"] = division.on_two_sides
    counts["outside_schema"] = len(story.check.outside) if story.check.active else None
    counts["law"] = story.ledger.counts()
    return counts


def _verdicts(records: Sequence[Record]) -> dict[str, int]:
    """How many training rows are to be learned (``true``) and unlearned (``false``)."""
    learned = sum(record.desirable is True for record in records)
    return {"true": learned, "false": len(records) - learned}


def _split_counts(story: Story, split: Split, dropped: dict[str, int]) -> dict[str, Any]:
    """A split's rows; law: ``read == kept - pieces + split_rows + sum(dropped)``."""
    lengths = story.lengths[split]
    return {
        "files": sum(file.split == split for file in story.files),
        "read": story.reading.rows[split] + (len(story.division.held_out) if split == "test" else 0),
        "dropped": dropped,
        "split_rows": len(lengths.split),
        "pieces": lengths.pieces,
        "lost_turns": lengths.lost_turns,
        "kept": len(lengths.kept),
        "tokens": sum(lengths.tokens),
        "answer_tokens": sum(lengths.answer_tokens),
        "subjects": len(np.unique(lengths.kept.subjects[lengths.kept.subjects != 0])),
    }


def _places(story: Story) -> dict[str, Any]:
    """Up to twenty rows for every reason, by file and line."""
    overlap, lengths, screening = story.overlap, story.lengths, story.screening
    return {
        "findings": {
            kind: [{"row": row, "action": action} for row, action in places.items()]
            for kind, places in sorted(screening.findings.places.items())
        },
        "duplicate": _pairs(overlap.duplicates),
        "contamination": _pairs(overlap.contaminated),
        "contradiction": _pairs(overlap.contradictions),
        "near_duplicate": _pairs(overlap.near),
        "near_test": _hits(overlap, overlap.near_test),
        "ngram_test": _hits(overlap, overlap.ngram_test),
        "contamination_near": _hits(overlap, overlap.contaminated_near),
        "near_contradiction": _pairs(overlap.near_contradictions),
        "covered_test": [{"row": name} for name, _ in overlap.covered[:NAMED]],
        "test_duplicate": _pairs(overlap.test_duplicates),
        "finding_dropped": _rows(screening.dropped["train"], screening.dropped["test"]),
        "too_long": _rows(lengths["train"].dropped, lengths["test"].dropped),
        "split": _rows(lengths["train"].split),
        "outside_schema": _rows(story.check.places),
        "near_duplicate_dropped": _pairs(story.quality.repeated),
        "semantic_duplicate": _pairs(story.quality.meaning or ()),
        "quality_dropped": [{"row": str(record.source)} for record in story.quality.doubted[:NAMED]],
        "worst": [row.to_json() for row in story.quality.worst(NAMED)],
    }


def _pairs(pairs: Sequence[Pair]) -> list[dict[str, str]]:
    return [{"row": str(record.source), "like": str(other.source)} for record, other in pairs[:NAMED]]


def _hits(overlap: Overlap, hits: Sequence[Hit]) -> list[dict[str, str]]:
    return [{"row": str(overlap.rows[hit.row].source), "like": hit.tested} for hit in hits[:NAMED]]


def _rows(*rows: NamedRows) -> list[dict[str, str]]:
    return [{"row": source} for source in [source for some in rows for source in some.first][:NAMED]]


def histogram(values: Sequence[int]) -> dict[str, Any] | None:
    """Counts in 24 bins of equal width, with minimum, median, 95th percentile and maximum; None without values."""
    if not values:
        return None
    array = np.asarray(values)
    width = max(1, -(-(int(array.max()) + 1) // _BINS))
    binned = Counter((array // width).tolist())
    return {
        "n": len(values),
        "bin_width": width,
        "counts": [binned.get(index, 0) for index in range(_BINS)],
        "min": int(array.min()),
        "median": int(np.median(array)),
        "p95": int(np.percentile(array, 95, method="inverted_cdf")),  # a row's own length, as the census has it
        "max": int(array.max()),
    }


def render_card(card: Mapping[str, Any]) -> str:
    """The card as one HTML page that loads nothing from anywhere."""
    return page(Path(__file__).with_name("card.html")).render(card=card)
