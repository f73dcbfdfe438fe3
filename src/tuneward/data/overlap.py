"""Overlap: duplicates, contradictory answers and training rows that also stand in the test set.

Place on the road: ``data.screening`` → here → ``data.lengths``. Equality is that of the normal form, and near-equality
that of shingles (``inspection.near_duplicates``). Exact duplicates within train go, the first stays; what stands in the
test set goes or blocks as the policy says; the rest is counted and named, and removed where the settings say so. Rows
are read one after the other and again where two are compared; kept of each are digests and a signature.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.data.contamination import Contamination, Hit, Tested, asked, tested_rows, whole
from tuneward.data.faults import Faults
from tuneward.data.quality_config import QualityConfig
from tuneward.data.row_digests import DigestTable, digests_of
from tuneward.data.row_pairs import RowPairs
from tuneward.data.rows import Rows, Selection
from tuneward.domain.policy import Policy
from tuneward.domain.record import Record
from tuneward.inspection.clusters import Clusters
from tuneward.inspection.near_duplicates import Likeness, NearDuplicates, near_duplicates
from tuneward.inspection.normal_form import normal_form

_BATCH_ROWS: Final = 2048
_RECENT_CHARACTERS: Final = 1 << 24


@dataclass
class Overlap:
    """What was found; of each pair the second stands earlier, or in the test set.

    Attributes:
        rows: training rows that came in.
        kept: training rows that remain.
        clusters: near-duplicates among the prompts of ``kept``, by position.
        repeats: the same, where the answers are near-duplicates, too.
        duplicates: training rows removed, with the row they repeat.
        contaminated: training rows removed, with the test row that asks the same.
        contaminated_near: training rows removed that nearly ask or hold what is tested.
        contradictions: training rows that answer an earlier row's prompt otherwise; of pairs, that turn an earlier
            pair round; of judged answers, that judge the same answer otherwise.
        near_contradictions: training rows whose prompt nearly equals an earlier one's and whose answer does not.
        test_duplicates: test rows that repeat another.
        near: training rows that nearly equal an earlier one's prompt.
        near_test: training rows, kept, whose prompt nearly equals a tested one.
        ngram_test: training rows, kept, that hold half of a tested row's runs of thirteen words or more.
        covered: tested rows of whose runs of words half or more stand in the training rows, with that share.
    """

    rows: Rows
    kept: Selection
    clusters: Clusters = field(default_factory=lambda: near_duplicates([]))
    repeats: Clusters = field(default_factory=lambda: near_duplicates([]))
    duplicates: RowPairs = field(default_factory=RowPairs)
    contaminated: RowPairs = field(default_factory=RowPairs)
    contaminated_near: list[Hit] = field(default_factory=list)
    contradictions: RowPairs = field(default_factory=RowPairs)
    near_contradictions: RowPairs = field(default_factory=RowPairs)
    test_duplicates: RowPairs = field(default_factory=RowPairs)
    near: RowPairs = field(default_factory=RowPairs)
    near_test: list[Hit] = field(default_factory=list)
    ngram_test: list[Hit] = field(default_factory=list)
    covered: list[tuple[str, float]] = field(default_factory=list)


def find_overlap(
    train: Rows,
    test: Rows,
    *,
    policy: Policy,
    faults: Faults,
    config: QualityConfig | None = None,
    suites: Sequence[Tested] = (),
) -> Overlap:
    """Compare all rows with one another in time linear in their text.

    Args:
        train: training rows in file order.
        test: test rows in file order.
        policy: its ``contamination`` says ``drop`` or ``block``.
        faults: receives contaminated rows where the policy blocks.
        config: says from when on prompts are near, and whether near rows count as contaminated.
        suites: items of the suites that the evaluation will use.
    """
    config = config or QualityConfig()
    result = Overlap(train, train.at(np.arange(len(train))))
    _find_equal(result, train, test)
    index = _look_up(result, [*tested_rows(test), *suites], config)
    _find_near(result, index)
    if policy.contamination == "block":
        cure = f"delete one of the two (policy `{policy.name}` blocks contamination)"
        for record, other in result.contaminated:
            message = f"the same prompt is tested at {other.source}"
            faults.add("TW-DATA-025", message, place=str(record.source), cure=cure)
        for hit in result.contaminated_near:
            message = f"what it holds is tested at {hit.tested}"
            faults.add("TW-DATA-025", message, place=str(train[hit.row].source), cure=cure)
    return result


def _find_equal(result: Overlap, train: Rows, test: Rows) -> None:
    """What is equal in normal form, and what contradicts it."""
    asked_in_test: dict[bytes, int] = {}
    table = DigestTable()
    for number, record in enumerate(test):
        row = digests_of(record)
        asked_in_test.setdefault(row.prompts[-1], number)
        table.add(row)
    result.test_duplicates = _repeats(table, RowPairs(test))
    result.contaminated = RowPairs(train, test)
    table, clean = DigestTable(), np.ones(len(train), dtype=bool)
    for number, record in enumerate(train):
        row = digests_of(record)
        table.add(row)
        hit = next((asked_in_test[prompt] for prompt in row.prompts if prompt in asked_in_test), None)
        if hit is not None:
            result.contaminated.add(number, hit)
            clean[number] = False
    # a row that asks what is tested is gone, and so is every row that equals it
    result.duplicates = _repeats(table, RowPairs(train), clean)
    clean[np.asarray(result.duplicates.ones, dtype=np.int64)] = False
    kept = np.flatnonzero(clean)
    result.kept = train.at(kept)
    result.contradictions = RowPairs(train)
    counters = table.contradicted(kept)
    for number in np.flatnonzero(counters >= 0).tolist():
        result.contradictions.add(int(kept[number]), int(kept[counters[number]]))


def _repeats(table: DigestTable, pairs: RowPairs, among: NDArray[np.bool_] | None = None) -> RowPairs:
    first = table.repeated()
    repeats = first != np.arange(len(first))
    for number in np.flatnonzero(repeats if among is None else repeats & among).tolist():
        pairs.add(number, int(first[number]))
    return pairs


def _look_up(result: Overlap, tested: Sequence[Tested], config: QualityConfig) -> NearDuplicates:
    """Look kept rows up among what is tested, and enter the prompts of those that stay into an index."""
    contamination = Contamination(tested)
    index = NearDuplicates(Likeness(jaccard=config.likeness))
    removes = config.contamination == "near"
    positions, looked = result.kept.positions, 0
    for records in _batches(result.kept):
        prompts, already = [asked(record) for record in records], len(contamination.hits)
        contamination.look(prompts, [whole(record) for record in records] if tested else prompts)
        gone = {hit.row - looked for hit in contamination.hits[already:]} if removes else set[int]()
        for number, prompt in enumerate(prompts):
            if number not in gone:
                index.add(prompt)
        looked += len(records)
    hits = [Hit(int(positions[hit.row]), hit.tested, hit.kind, hit.share) for hit in contamination.hits]
    result.covered = contamination.covered()
    if removes:
        result.contaminated_near = hits
        stays = ~np.isin(positions, np.array([hit.row for hit in hits], dtype=np.int64))
        result.kept = result.rows.at(positions[stays])
    else:
        result.near_test = [hit for hit in hits if hit.kind == "near"]
        result.ngram_test = [hit for hit in hits if hit.kind == "ngram"]
    return index


def _find_near(result: Overlap, index: NearDuplicates) -> None:
    kept, positions = result.kept, result.kept.positions
    result.near, result.near_contradictions = RowPairs(result.rows), RowPairs(result.rows)
    result.clusters = index.clusters(_RecentPrompts(kept))
    repeats = np.arange(len(kept))
    for members in result.clusters.members():
        records = [kept[number] for number in members]
        alike = _alike([normal_form(record.answer) for record in records], index.like)
        repeats[members] = [members[place] for place in alike]
        seen: set[str] = set()
        for place, record in enumerate(records):
            prompt = asked(record)
            if place and prompt not in seen:
                pair = int(positions[members[place]]), int(positions[members[0]])
                result.near.add(*pair)
                if alike[place] != 0 and record.form == "conversation":
                    result.near_contradictions.add(*pair)
            seen.add(prompt)
    result.repeats = Clusters(repeats)


class _RecentPrompts:
    """Prompts by position; those read last are kept, since candidates are looked at twice and stand close together."""

    def __init__(self, rows: Selection) -> None:
        self._rows, self._characters = rows, 0
        self._read: dict[int, str] = {}

    def __call__(self, number: int) -> str:
        text = self._read.get(number)
        if text is None:
            text = asked(self._rows[number])
            self._characters += len(text)
            if self._characters > _RECENT_CHARACTERS:
                self._read.clear()
                self._characters = len(text)
            self._read[number] = text
        return text


def _alike(answers: list[str], like: Likeness) -> list[int]:
    """For each answer the place of the first of its cluster."""
    distinct = list(dict.fromkeys(answers))
    if len(distinct) == 1:
        return [0] * len(answers)
    places = [answers.index(answer) for answer in distinct]
    first = dict(zip(distinct, near_duplicates(distinct, like=like).first.tolist(), strict=True))
    return [places[first[answer]] for answer in answers]


def _batches(rows: Selection) -> Iterator[list[Record]]:
    everything = iter(rows)
    while batch := list(islice(everything, _BATCH_ROWS)):
        yield batch
