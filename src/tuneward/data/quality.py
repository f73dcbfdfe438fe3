"""Quality: a score for each training row with its reasons, and which rows leave because of them.

Place on the road: ``data.overlap`` → here → ``data.division``. Joins what ``inspection`` says of single texts with what
only the whole shows: lengths, languages, labels, repetition, diversity. Removes nothing unless the settings say so.
"""

import dataclasses
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuneward.data.contamination import asked, whole
from tuneward.data.labels import LabelCounts, labels_of
from tuneward.data.overlap import Overlap
from tuneward.data.quality_config import QualityConfig
from tuneward.data.row_issues import RowIssues
from tuneward.data.row_pairs import RowPairs
from tuneward.data.rows import Positions, Selection
from tuneward.domain.record import Record
from tuneward.inspection.quality.detectors import issues_of
from tuneward.inspection.quality.diversity import Diversity, Sample, embedding_spread
from tuneward.inspection.quality.issue import Issue, quality, suggestion
from tuneward.inspection.quality.language import UNKNOWN, guess
from tuneward.inspection.quality.outliers import robust_scores
from tuneward.inspection.semantic_duplicates import semantic_clusters

#: Texts in normal form → unit vectors, shape ``(texts, width)``.
Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_FAR: Final = 6.0
#: Share of rows from which a missing full stop is the style of the data and no fault.
_STYLE: Final = 0.1
_STYLE_ROWS: Final = 5
_EMBEDDED_TOGETHER: Final = 4096


@dataclass(frozen=True)
class RowQuality:
    """What is thought of one row.

    Attributes:
        record: the row.
        issues: why it is doubted.
        copies: rows that say the same, exactly or nearly, itself and those removed included: what the memorisation test
            asks for.
    """

    record: Record
    issues: tuple[Issue, ...]
    copies: int

    @property
    def score(self) -> float:
        """From 1 (nothing found) down to 0."""
        return quality(self.issues)

    def to_json(self) -> dict[str, Any]:
        """One line of ``quality.jsonl``."""
        return {
            "record": self.record.id,
            "source": str(self.record.source),
            "score": round(self.score, 4),
            "reasons": sorted({f"{issue.kind}.{issue.rule}" for issue in self.issues}),
            "suggestion": suggestion(self.issues),
            "copies": self.copies,
        }


@dataclass(frozen=True)
class Quality:
    """What is thought of the training rows.

    Attributes:
        rows: the rows that came in, in order.
        issues: of each of them.
        copies: of each of them; see :attr:`RowQuality.copies`.
        kept: rows that remain.
        clusters: for each of ``kept`` the number of its cluster of near prompts.
        repeated: rows removed, with the one of their cluster that stays.
        doubted: rows removed for one of the reasons that the settings name.
        languages: language → rows.
        labels: see :meth:`labels.LabelCounts.result`.
        diversity: of a sample of the rows' texts; None without rows.
        meaning: rows whose prompt means what an earlier one's does and is not near it; None where no model was given.
        spread: mean cosine distance of the prompts' embeddings, 0 to 2; None where no model was given.
        without_stop: whether a missing full stop is the style of these answers.
    """

    rows: Selection
    issues: RowIssues
    copies: NDArray[np.int64]
    kept: Selection
    clusters: NDArray[np.int64]
    repeated: RowPairs
    doubted: Selection
    languages: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    diversity: Diversity | None = None
    meaning: RowPairs | None = None
    spread: float | None = None
    without_stop: bool = False

    def noted(self) -> Iterator[RowQuality]:
        """Rows with a reason or with copies, in order."""
        noted = self.issues.rows_with(lambda issue: True) | (self.copies > 1)
        return (self._row(position) for position in np.flatnonzero(noted).tolist())

    def reasons(self) -> dict[str, int]:
        """Reason → rows that have it."""
        return dict(sorted(self.issues.kinds().items()))

    def worst(self, count: int) -> list[RowQuality]:
        """The rows of the lowest scores, none of those without a reason."""
        doubted = np.flatnonzero(self.issues.rows_with(lambda issue: True))
        ranked = doubted[np.argsort(self.issues.scores[doubted], kind="stable")]
        return [self._row(position) for position in ranked[:count].tolist()]

    def _row(self, position: int) -> RowQuality:
        return RowQuality(self.rows[position], self.issues[position], int(self.copies[position]))

    def to_json(self) -> dict[str, Any]:
        """What the card says beside the reasons."""
        return {
            "languages": dict(sorted(self.languages.items())),
            "labels": self.labels,
            "diversity": _rounded(dataclasses.asdict(self.diversity)) if self.diversity else None,
            "without_stop": self.without_stop,
            "embedding_spread": None if self.spread is None else round(self.spread, 4),
        }


def judge_quality(
    overlap: Overlap,
    *,
    outside: Sequence[int] | Positions,
    config: QualityConfig,
    losses: Sequence[float] = (),
    embed: Embed | None = None,
) -> Quality:
    """Judge the training rows that overlap left.

    Args:
        overlap: rows and what repeats.
        outside: positions of rows whose answers do not fit the task.
        config: what is expected, and which rows leave.
        losses: of the base for each row, where it was asked; NaN where it has none.
        embed: texts to unit vectors, where a model is given.
    """
    records = overlap.kept
    outside_rows = np.isin(records.positions, np.asarray(outside, dtype=np.int64)).tolist()
    languages, labels, texts = Counter[str](), LabelCounts(), Sample()
    lengths, found = array("d"), RowIssues()
    for record, is_outside in zip(records, outside_rows, strict=True):
        text = whole(record)
        language = guess(text)
        languages[language] += 1
        labels.add(labels_of(record))
        texts.add(text)
        lengths.append(float(np.log1p(len(record.answer))))
        found.add(_issues(record, language=language, outside=is_outside, config=config))
    without_stop = _forgive_style(found)
    _add_outliers(found, lengths, kind="length", rules=("long", "short"), weight=0.3)
    _add_outliers(found, losses, kind="perplexity", rules=("high", "low"), weight=0.4)
    meaning, spread = _meaning(overlap, embed, config.cosine) if embed else (None, None)
    stays = np.arange(len(records))
    if config.near_duplicates == "drop":
        best = config.keep == "best"
        stays = overlap.repeats.keep_best(found.scores.tolist()) if best else overlap.repeats.keep_first()
    repeats = stays != np.arange(len(records))
    repeated = RowPairs(overlap.rows)
    for position in np.flatnonzero(repeats).tolist():
        repeated.add(int(records.positions[position]), int(records.positions[stays[position]]))
    doubted = found.rows_with(lambda issue: issue.kind in config.drop) & ~repeats
    left = np.flatnonzero(~repeats & ~doubted)
    return Quality(
        rows=records,
        issues=found,
        copies=_copies(overlap),
        kept=overlap.rows.at(records.positions[left]),
        clusters=overlap.clusters.first[left],
        repeated=repeated,
        doubted=overlap.rows.at(records.positions[doubted]),
        languages=dict(languages),
        labels=labels.result(),
        diversity=texts.diversity(),
        meaning=meaning,
        spread=spread,
        without_stop=without_stop,
    )


def _add_outliers(
    found: RowIssues, values: Sequence[float], *, kind: str, rules: tuple[str, str], weight: float
) -> None:
    scores = robust_scores(values)
    for position in np.flatnonzero(np.abs(scores) > _FAR).tolist():
        found.append(position, Issue(kind, rules[0] if scores[position] > 0 else rules[1], weight, "look"))


def _meaning(overlap: Overlap, embed: Embed, cosine: float) -> tuple[RowPairs, float]:
    """Rows that mean what an earlier one does though their letters differ, and the spread of all."""
    parts, prompts = list[NDArray[np.float32]](), map(asked, overlap.kept)
    while texts := list(islice(prompts, _EMBEDDED_TOGETHER)):
        parts.append(embed(texts))
    vectors = np.concatenate(parts)
    first = semantic_clusters(vectors, cosine=cosine).first
    near = overlap.clusters.first
    apart = np.flatnonzero((first != np.arange(len(first))) & (near != near[first]))
    pairs, positions = RowPairs(overlap.rows), overlap.kept.positions
    for row in apart.tolist():
        pairs.add(int(positions[row]), int(positions[first[row]]))
    return pairs, embedding_spread(vectors)


def _issues(record: Record, *, language: str, outside: bool, config: QualityConfig) -> list[Issue]:
    answers = [record.answer] if record.form == "document" or record.desirable is not False else []
    issues = [issue for text in answers if text for issue in issues_of(text, document=record.form == "document")]
    if outside:
        issues.append(Issue("outside_schema", "task", 0.8, "repair"))
    if config.languages and language not in (*config.languages, UNKNOWN):
        issues.append(Issue("language", language, 0.5, "look"))
    return issues


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """To three digits, which every machine agrees on."""
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


def _forgive_style(found: RowIssues) -> bool:
    """Where many answers end without a stop, none of them is doubted for it; says whether that is so."""
    open_ends = int(found.rows_with(lambda issue: issue.rule == "open_sentence").sum())
    if open_ends < _STYLE_ROWS or open_ends <= _STYLE * len(found):
        return False
    found.take_out("open_sentence")
    return True


def _copies(overlap: Overlap) -> NDArray[np.int64]:
    """For each kept row how many rows say the same, exactly or nearly."""
    repeated = np.asarray(overlap.duplicates.others, dtype=np.int64)
    exact = 1 + np.bincount(repeated, minlength=len(overlap.rows))[overlap.kept.positions]
    first = overlap.repeats.first
    totals = np.bincount(first, weights=exact, minlength=len(exact))
    return totals[first].astype(np.int64)
