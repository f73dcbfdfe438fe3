"""Measure: answers of base and tuned to the same items in, one report out.

Place on the road: the middle of ``evaluate``. Answers come in as texts, so this file knows no model, no decoder and no
database; and the report can be made again from ``items.jsonl`` by anyone (:func:`read_items`, then :func:`measure`).

``report.json`` holds figures and item ids only; prompts, references and answers stand in ``items.jsonl`` alone. So a
person's rows can be erased from the items while the signed figures stay.
"""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tuneward.digests import canonical_json
from tuneward.errors import EvaluationError, Fault
from tuneward.evaluation.config import FIELD_MEASURES, FIELD_PREFIX, SUITE_FIGURES, Suite
from tuneward.evaluation.json_answers import CUT, REASONS
from tuneward.evaluation.paired import Figure, Floats, compare
from tuneward.evaluation.tasks import Score, Task, reference_faults

REPORT_FILE = "report.json"
ITEMS_FILE = "items.jsonl"

#: Version of ``report.json``; raised when a reader of the old one would misread the new one.
FORMAT = 1

#: How a tuned answer stands to the base's, in the order in which examples are dealt.
OUTCOMES = ("improved", "still wrong", "worse", "still right")

#: The note on figures of such models, and what of a base is kept in four bits.
FOUR_BITS = "Base and tuned both answered with the base's {} kept in four bits (NF4), as they are served."
KEPT = {"nf4": "linear layers", "nf4-all": "linear layers, embedding and output head"}

#: Suites that this version measures: none yet. The others stand in every report as not measured.
MEASURED_SUITES: frozenset[Suite] = frozenset()


@dataclass(frozen=True)
class Item:
    """One test item.

    Attributes:
        id: the record's id.
        prompt: what the model was asked, for display.
        reference: the right answer.
    """

    id: str
    prompt: str
    reference: str


@dataclass(frozen=True)
class Example:
    """One item with both answers, for the reader of a report; ``outcome`` is one of ``OUTCOMES``.

    ``cut`` names the models whose answer had not ended when it had the longest length that was asked for, in tokens.
    """

    item: Item
    base: str
    tuned: str
    outcome: str
    cut: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The example with its texts, for pages that show them; never part of ``report.json``."""
        return {
            "item": self.item.id,
            "outcome": self.outcome,
            "prompt": self.item.prompt,
            "reference": self.item.reference,
            "base": self.base,
            "tuned": self.tuned,
            **({"cut": dict(self.cut)} if self.cut else {}),
        }


@dataclass(frozen=True)
class Report:
    """What was measured, and what was not.

    Attributes:
        task: kind of the task.
        task_digest: digest of what decides a score (kind, schema, free-text fields).
        seed: of resampling and of the choice of examples.
        figures: figure → base, tuned, intervals, difference, p-value; those of fields by their full name.
        fields: field → how it is compared.
        outcomes: outcome → number of items.
        failures: ``base`` and ``tuned`` → reason → number of answers that could not be used.
        cut: ``max_tokens``, and of ``base`` and ``tuned`` how many answers had not ended by then; empty where all had.
        not_measured: suites asked for that this version cannot measure, the figures this leaves out, and why.
        quantisation: how the base was kept while both models answered: ``none``, ``nf4`` or ``nf4-all``.
        side_by_side: examples drawn at random with the seed, one outcome after the other.
        examples: every item with both answers, in the test set's order.
    """

    task: str
    task_digest: str
    seed: int
    figures: Mapping[str, Figure]
    fields: Mapping[str, str]
    outcomes: Mapping[str, int]
    failures: Mapping[str, Mapping[str, int]]
    cut: Mapping[str, int]
    not_measured: tuple[Mapping[str, Any], ...]
    quantisation: str
    side_by_side: tuple[Example, ...]
    examples: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """``report.json``: figures, counts and ids; no text of any row."""
        return {
            "format": FORMAT,
            "task": {"kind": self.task, "digest": self.task_digest},
            "items": len(self.examples),
            "seed": self.seed,
            "confidence": 0.95,
            "figures": {n: figure.to_json() for n, figure in self.figures.items() if not n.startswith(FIELD_PREFIX)},
            "fields": {field: self._field_json(field) for field in self.fields},
            "outcomes": dict(self.outcomes),
            "failures": {model: dict(counts) for model, counts in self.failures.items()},
            **({"cut": dict(self.cut)} if self.cut else {}),
            "not_measured": [dict(entry) for entry in self.not_measured],
            "quantisation": self.quantisation,
            "side_by_side": {
                "chosen": f"drawn at random with seed {self.seed}, in turn from the items "
                f"{', '.join(OUTCOMES)}; nobody picked them",
                "items": [{"item": example.item.id, "outcome": example.outcome} for example in self.side_by_side],
            },
            "notes": [
                "Values of 0 to 1; differences are tuned minus base on the same items.",
                "p-values of single fields are not corrected for their number.",
                *([FOUR_BITS.format(KEPT[self.quantisation])] if self.quantisation in KEPT else []),
            ],
        }

    def _field_json(self, field: str) -> dict[str, Any]:
        figures = {measure: self.figures[f"{FIELD_PREFIX}{field}.{measure}"].to_json() for measure in FIELD_MEASURES}
        return {"compared": self.fields[field], **figures}

    def write(self, folder: Path) -> None:
        """Write ``report.json`` (canonical) and ``items.jsonl`` into an existing folder."""
        (folder / REPORT_FILE).write_bytes(canonical_json(self.to_json()) + b"\n")
        with (folder / ITEMS_FILE).open("wb") as handle:
            for example in self.examples:
                handle.write(canonical_json(example.to_json()) + b"\n")


def choose_items(items: Sequence[Item], *, limit: int | None, seed: int) -> list[Item]:
    """The items to measure on: all, or ``limit`` of them drawn with ``seed``, in the test set's order."""
    if limit is None or limit >= len(items):
        return list(items)
    drawn = random.Random(seed).sample(range(len(items)), limit)  # noqa: S311 - a draw, not a secret
    return [items[index] for index in sorted(drawn)]


def measure(
    task: Task,
    items: Sequence[Item],
    base: Sequence[str],
    tuned: Sequence[str],
    *,
    seed: int = 0,
    samples: int = 4,
    suites: Sequence[Suite] = (),
    quantisation: str = "none",
    cut: Mapping[str, Set[int]] | None = None,
    max_tokens: int = 0,
) -> Report:
    """Compare the answers of base and tuned, item by item.

    Args:
        task: what makes an answer right.
        items: the test items.
        base: the base model's answers, in the items' order.
        tuned: the tuned model's answers, likewise, made with the same decoder.
        seed: of resampling and of the choice of examples.
        samples: side-by-side examples wanted.
        suites: further suites asked for.
        quantisation: how the base was kept while both answered: ``none``, ``nf4`` or ``nf4-all``.
        cut: ``base`` and ``tuned`` → places of the answers that had not ended after ``max_tokens``; None where all had.
        max_tokens: the longest answer that was asked for.

    Raises:
        EvaluationError: when there are no items, answers do not pair up, or reference answers are themselves wrong.
    """
    check_items(task, items, answers={"base": base, "tuned": tuned})
    base, tuned = [_storable(answer) for answer in base], [_storable(answer) for answer in tuned]
    before = [task.score(answer, item.reference) for answer, item in zip(base, items, strict=True)]
    after = [task.score(answer, item.reference) for answer, item in zip(tuned, items, strict=True)]
    places = {"base": frozenset[int](), "tuned": frozenset[int](), **(cut or {})}
    examples = tuple(
        Example(
            item=item,
            base=base[index],
            tuned=tuned[index],
            outcome=_outcome(before[index], after[index]),
            cut={model: max_tokens for model, where in places.items() if index in where},
        )
        for index, item in enumerate(items)
    )
    counted = Counter(example.outcome for example in examples)
    return Report(
        task=task.kind,
        task_digest=task.digest,
        seed=seed,
        figures=compare(task.figures, _columns(task, before), _columns(task, after), seed=seed),
        fields=task.fields,
        outcomes={outcome: counted[outcome] for outcome in OUTCOMES},
        failures={"base": _failures(before, places["base"]), "tuned": _failures(after, places["tuned"])},
        cut={"max_tokens": max_tokens, **{m: len(w) for m, w in places.items()}} if any(places.values()) else {},
        not_measured=not_measured(suites),
        quantisation=quantisation,
        side_by_side=_side_by_side(examples, samples=samples, seed=seed),
        examples=examples,
    )


def not_measured(suites: Sequence[Suite]) -> tuple[Mapping[str, Any], ...]:
    """One entry for every suite that is not measured, asked for or not; ``asked`` tells which."""
    return tuple(
        {
            "name": suite,
            "figures": [figure for figure, owner in SUITE_FIGURES.items() if owner == suite],
            "asked": suite in suites,
            "reason": f"this version of Tuneward has no {suite} suite yet",
        }
        for suite in get_args(Suite)
        if suite not in MEASURED_SUITES
    )


def _storable(answer: str) -> str:
    """The answer with lone surrogates, which JSON can carry but UTF-8 cannot, replaced."""
    return answer.encode("utf-8", "replace").decode()


def check_items(task: Task, items: Sequence[Item], *, answers: Mapping[str, Sequence[str]] | None = None) -> None:
    """Refuse a test set that cannot measure anything; without ``answers``, before a model is asked for any.

    Raises:
        EvaluationError: there are no items, an item stands twice, reference answers are themselves wrong, or answers do
            not pair up; every fault.
    """
    if not items:
        raise EvaluationError(
            Fault("TW-EVAL-005", "the test set is empty", "data.test", "name a file with rows that training never sees")
        )
    faults = [
        Fault("TW-EVAL-007", f"{len(texts)} answers of {name} for {len(items)} items", name, "answer every item once")
        for name, texts in (answers or {}).items()
        if len(texts) != len(items)
    ]
    twice = [item for item, count in Counter(item.id for item in items).items() if count > 1]
    faults += [Fault("TW-EVAL-007", "the item stands twice", item, "give each item its own id") for item in twice]
    faults += reference_faults(task, {item.id: item.reference for item in items})
    if faults:
        raise EvaluationError(faults)


def _columns(task: Task, scores: Sequence[Score]) -> dict[str, Floats]:
    return {name: np.array([score.parts[name] for score in scores], dtype=np.float64) for name in task.figures}


def _outcome(before: Score, after: Score) -> str:
    if after.points != before.points:
        return "improved" if after.points > before.points else "worse"
    return "still right" if after.points == 1 else "still wrong"


def _failures(scores: Sequence[Score], cut: Set[int]) -> dict[str, int]:
    counted = Counter(CUT if place in cut else score.failure for place, score in enumerate(scores) if score.failure)
    return {reason: counted[reason] for reason in REASONS if counted[reason]}


def _side_by_side(examples: Sequence[Example], *, samples: int, seed: int) -> tuple[Example, ...]:
    """Shuffle with the seed, then deal one of each outcome in turn until ``samples`` are dealt or none are left."""
    shuffled = list(examples)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a draw, not a secret
    piles = {outcome: [example for example in shuffled if example.outcome == outcome] for outcome in OUTCOMES}
    turns = max(map(len, piles.values()))
    dealt = [piles[outcome][turn] for turn in range(turns) for outcome in OUTCOMES if turn < len(piles[outcome])]
    return tuple(dealt[:samples])


def read_items(folder: Path) -> tuple[list[Item], list[str], list[str]]:
    """Read ``items.jsonl`` back: items, base answers, tuned answers.

    ``measure`` over them gives the figures of ``report.json`` again.

    Raises:
        EvaluationError: when the file is missing or damaged.
    """
    items, base, tuned = [], [], []
    for row in _rows(folder / ITEMS_FILE):
        items.append(Item(id=row["item"], prompt=row["prompt"], reference=row["reference"]))
        base.append(row["base"])
        tuned.append(row["tuned"])
    return items, base, tuned


def read_report(folder: Path) -> dict[str, Any]:
    """Read ``report.json`` as plain JSON.

    Raises:
        EvaluationError: when the file is missing or damaged.
    """
    path = folder / REPORT_FILE
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise _damaged(path, ValueError(f"not a report of format {FORMAT}"))
    return report


def read_side_by_side(folder: Path) -> list[dict[str, Any]]:
    """The report's chosen examples with their texts; an item that was erased since is left out."""
    rows = {row["item"]: row for row in _rows(folder / ITEMS_FILE)}
    chosen = read_report(folder)["side_by_side"]["items"]
    return [rows[entry["item"]] for entry in chosen if entry["item"] in rows]


def _rows(path: Path) -> list[dict[str, Any]]:
    keys = {"item", "outcome", "prompt", "reference", "base", "tuned"}
    try:
        rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    for number, row in enumerate(rows, start=1):
        whole = isinstance(row, dict) and set(row) - {"cut"} == keys and isinstance(row.get("cut", {}), dict)
        if not whole or not all(isinstance(row[key], str) for key in keys):
            raise _damaged(path, ValueError(f"line {number} is no item"))
    return rows


def _damaged(path: Path, error: Exception) -> EvaluationError:
    what = error.strerror if isinstance(error, OSError) else type(error).__name__
    if type(error) is ValueError:
        what = str(error)
    return EvaluationError(Fault("TW-EVAL-008", str(what), str(path), "run `tuneward evaluate` again"))
