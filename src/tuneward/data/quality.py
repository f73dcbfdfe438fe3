"""Quality: a score for each training row with its reasons, and which rows leave because of them.

Place on the road: ``data.overlap`` → here → ``data.division``. Joins what ``inspection`` says of single texts with what
only the whole shows: lengths, languages, labels, repetition, diversity. Removes nothing unless the settings say so.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuneward.data.contamination import asked, whole
from tuneward.data.labels import LabelCounts, labels_of
from tuneward.data.overlap import Overlap, Pair
from tuneward.data.quality_config import QualityConfig
from tuneward.domain.record import Record
from tuneward.inspection.quality.detectors import issues_of
from tuneward.inspection.quality.diversity import Diversity, diversity, embedding_spread
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
        rows: each row that came in, in order.
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

    rows: tuple[RowQuality, ...] = ()
    kept: tuple[Record, ...] = ()
    clusters: tuple[int, ...] = ()
    repeated: tuple[Pair, ...] = ()
    doubted: tuple[Record, ...] = ()
    languages: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    diversity: Diversity | None = None
    meaning: tuple[Pair, ...] | None = None
    spread: float | None = None
    without_stop: bool = False

    def noted(self) -> list[RowQuality]:
        """Rows with a reason or with copies, in order."""
        return [row for row in self.rows if row.issues or row.copies > 1]

    def reasons(self) -> dict[str, int]:
        """Reason → rows that have it."""
        counted = Counter(kind for row in self.rows for kind in {issue.kind for issue in row.issues})
        return dict(sorted(counted.items()))

    def worst(self, count: int) -> list[RowQuality]:
        """The rows of the lowest scores, none of those without a reason."""
        ranked = sorted((row for row in self.rows if row.issues), key=lambda row: row.score)
        return ranked[:count]

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
    outside: Iterable[Record],
    config: QualityConfig,
    losses: Sequence[float] = (),
    embed: Embed | None = None,
) -> Quality:
    """Judge the training rows that overlap left.

    Args:
        overlap: rows and what repeats.
        outside: rows whose answers do not fit the task.
        config: what is expected, and which rows leave.
        losses: of the base for each row, where it was asked; NaN where it has none.
        embed: texts to unit vectors, where a model is given.
    """
    records = overlap.kept
    outside_ids = {record.id for record in outside}
    languages, labels = Counter[str](), LabelCounts()
    found: list[list[Issue]] = []
    for record in records:
        language = guess(whole(record))
        languages[language] += 1
        labels.add(labels_of(record))
        found.append(_issues(record, language=language, outside=record.id in outside_ids, config=config))
    without_stop = _forgive_style(found)
    for position, far in enumerate(robust_scores([float(np.log1p(len(r.answer))) for r in records]).tolist()):
        if abs(far) > _FAR:
            found[position].append(Issue("length", "long" if far > 0 else "short", 0.3, "look"))
    for position, far in enumerate(robust_scores(losses).tolist()):
        if abs(far) > _FAR:
            found[position].append(Issue("perplexity", "high" if far > 0 else "low", 0.4, "look"))
    meaning, spread = _meaning(overlap, embed, config.cosine) if embed else (None, None)
    rows = [
        RowQuality(record, tuple(issues), copies)
        for record, issues, copies in zip(records, found, _copies(overlap), strict=True)
    ]
    stays = np.arange(len(rows))
    if config.near_duplicates == "drop":
        best = config.keep == "best"
        stays = overlap.repeats.keep_best([row.score for row in rows]) if best else overlap.repeats.keep_first()
    left, repeated, doubted = list[int](), list[Pair](), list[Record]()
    for position, row in enumerate(rows):
        if stays[position] != position:
            repeated.append((row.record, records[int(stays[position])]))
        elif any(issue.kind in config.drop for issue in row.issues):
            doubted.append(row.record)
        else:
            left.append(position)
    return Quality(
        rows=tuple(rows),
        kept=tuple(records[position] for position in left),
        clusters=tuple(overlap.clusters.first[left].tolist()),
        repeated=tuple(repeated),
        doubted=tuple(doubted),
        languages=dict(languages),
        labels=labels.result(),
        diversity=diversity([whole(record) for record in records]),
        meaning=meaning,
        spread=spread,
        without_stop=without_stop,
    )


def _meaning(overlap: Overlap, embed: Embed, cosine: float) -> tuple[tuple[Pair, ...], float]:
    """Rows that mean what an earlier one does though their letters differ, and the spread of all."""
    vectors = embed([asked(record) for record in overlap.kept])
    first = semantic_clusters(vectors, cosine=cosine).first
    near = overlap.clusters.first
    apart = np.flatnonzero((first != np.arange(len(first))) & (near != near[first]))
    pairs = tuple((overlap.kept[row], overlap.kept[int(first[row])]) for row in apart.tolist())
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


def _forgive_style(found: list[list[Issue]]) -> bool:
    """Where many answers end without a stop, none of them is doubted for it; says whether that is so."""
    open_ends = sum(any(issue.rule == "open_sentence" for issue in issues) for issues in found)
    if open_ends < _STYLE_ROWS or open_ends <= _STYLE * len(found):
        return False
    for issues in found:
        issues[:] = [issue for issue in issues if issue.rule != "open_sentence"]
    return True


def _copies(overlap: Overlap) -> Sequence[int]:
    """For each kept row how many rows say the same, exactly or nearly."""
    exact = Counter(first.id for _, first in overlap.duplicates)
    each = np.array([1 + exact[record.id] for record in overlap.kept], dtype=np.int64)
    first = overlap.repeats.first
    totals = np.bincount(first, weights=each, minlength=len(each)) if len(each) else np.zeros(0)
    return [int(total) for total in totals[first]] if len(each) else []
