"""Counts what ``tuneward prepare`` found against what was planted: found, missed, wrongly found, kind by kind.

Place on the road: after ``tuneward prepare``, in the project's folder. Reads ``data/planted.json``, which ``prepare``
never reads, what ``tuneward data findings --json`` says, and ``card.json`` and ``quality.jsonl`` of the dataset.

Usage: ``python check_planted.py [--json]``
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Kind of plant about a whole row → where the data card names the rows that were found so.
ROWS = {
    "duplicate": ("places", "duplicate"),
    "near_duplicate": ("places", "near_duplicate"),
    "contradiction": ("places", "contradiction"),
    "also_in_test": ("places", "contamination"),
    "consent_expired": ("legal", "named", "expired"),
    "consent_withdrawn": ("legal", "named", "withdrawn"),
    "retention_passed": ("legal", "named", "retention"),
}
#: Of these, the later of two rows is named, whichever was planted: what counts is the pair.
PAIRS = ("duplicate", "near_duplicate", "contradiction", "also_in_test")
#: Kinds of plant in an answer: reasons to doubt it.
ANSWERS = ("assistant_phrase", "broken_json", "outside_schema", "placeholder")
#: Texts that only look like an identifier; they are right where nothing found them.
NEAR_MISS = "_near_miss"
#: Found and told, but not planted: the mails are full of them, and their places are not written down.
NOT_PLANNED = {"age", "date", "insurance_id", "nationality", "organisation", "person", "place", "postcode", "title"}


@dataclass
class Count:
    """One line of the table.

    Attributes:
        kind: what was planted, and in which disguise.
        planted: how many.
        found: of these, found whole. Of near misses: left alone.
        missed: of these, not found, or not wholly. Of near misses: taken for what they are not.
        wrong: findings of this kind where nothing of it was planted.
    """

    kind: str
    planted: int = 0
    found: int = 0
    missed: int = 0
    wrong: int = 0

    def add(self, found: bool) -> None:
        """Count a plant."""
        self.planted += 1
        self.found += found
        self.missed += not found


def count(
    plan: list[dict[str, Any]],
    card: Mapping[str, Any],
    findings: list[dict[str, Any]],
    quality: list[dict[str, Any]],
) -> list[Count]:
    """The table.

    Args:
        plan: ``planted.json``.
        card: the data card.
        findings: every place of ``data findings``.
        quality: ``quality.jsonl``, the rows with a reason to doubt them.
    """
    counts: dict[str, Count] = {}
    spans = [plant for plant in plan if "text" in plant]
    prompts = [finding for finding in findings if finding["field"] == "messages[1].content"]
    by_row = _by(prompts, lambda finding: finding["source"])
    for plant in spans:
        near = [f for f in by_row.get(place(plant), ()) if f["start"] < plant["end"] and plant["start"] < f["end"]]
        if plant["kind"].endswith(NEAR_MISS):
            found = not [f for f in near if f["action"] != "allow" and f["kind"] not in NOT_PLANNED]
        else:
            found = covers(plant, [f for f in near if f["kind"] == plant["kind"]])
        _line(counts, plant).add(found)
    planned = _by(spans, place)
    for finding in findings:
        if finding["kind"] in NOT_PLANNED:
            continue
        here = [p for p in planned.get(finding["source"], ()) if p["kind"] == finding["kind"]]
        if finding["field"] != "messages[1].content":
            here = []
        if not [p for p in here if finding["start"] < p["end"] and p["start"] < finding["end"]]:
            counts.setdefault(finding["kind"], Count(finding["kind"])).wrong += 1
    named = {kind: {named["row"] for named in value_of(card, path)} for kind, path in ROWS.items() if kind not in PAIRS}
    reasons: dict[str, set[str]] = {kind: set() for kind in ANSWERS}
    for row in quality:
        for reason in row["reasons"]:
            name = reason.partition(".")[0]
            if name in reasons:
                reasons[name].add(row["source"])
    named |= reasons
    faulty = _by([plant for plant in plan if plant["kind"] in ANSWERS], place)
    for kind, rows in named.items():
        wanted = {place(plant) for plant in plan if plant["kind"] == kind}
        if not (wanted or rows):
            continue
        line = counts.setdefault(kind, Count(kind))
        for row in sorted(wanted):
            line.add(row in rows)
        line.wrong = len([row for row in rows - wanted if not (kind in ANSWERS and row in faulty)])
    for kind in PAIRS:
        pairs = {frozenset((place(plant), place(plant["of"]))) for plant in plan if plant["kind"] == kind}
        told = {frozenset((named["row"], named["like"])) for named in value_of(card, ROWS[kind])}
        line = counts.setdefault(kind, Count(kind))
        for pair in sorted(pairs, key=sorted):
            line.add(pair in told)
        line.wrong = len(told - pairs)
    return list(counts.values())


def covers(plant: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every letter and digit of the plant lies in one of the findings."""
    letters = {plant["start"] + i for i, sign in enumerate(plant["text"]) if sign.isalnum()}
    for finding in findings:
        letters -= set(range(finding["start"], finding["end"]))
    return not letters


def place(plant: Mapping[str, Any]) -> str:
    """The plant's row, as the commands name it."""
    return f"data/{plant['file']}:{plant['line']}"


def value_of(card: Mapping[str, Any], path: tuple[str, ...]) -> list[Mapping[str, str]]:
    """What the card names there: of each, its ``row``, and the row that it is ``like``."""
    value: Any = card
    for name in path:
        value = value.get(name, {})
    return list(value)


def _by(items: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _line(counts: dict[str, Count], plant: Mapping[str, Any]) -> Count:
    name = plant["kind"] + (f", {plant['disguise'].replace('_', ' ')}" if "disguise" in plant else "")
    return counts.setdefault(name, Count(name))


def ask(*arguments: str) -> dict[str, Any]:
    """What a command of ``tuneward`` prints with ``--json``."""
    beside = Path(sys.executable).with_name("tuneward")
    command = str(beside) if beside.is_file() else shutil.which("tuneward")
    if command is None:
        raise SystemExit("tuneward is not installed here; call this with the Python that it is installed for")
    done = subprocess.run([command, *arguments, "--json"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, end="", file=sys.stderr)  # what is wrong, and where, and the cure
        raise SystemExit(done.returncode)
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def main() -> None:
    """Prepare the project where that is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description="Count what prepare found against what was planted.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    page = Path(ask("prepare")["card"])
    card = json.loads(page.with_name("card.json").read_text(encoding="utf-8"))
    quality = [json.loads(line) for line in page.with_name("quality.jsonl").read_text(encoding="utf-8").splitlines()]
    findings = ask("data", "findings", "--limit", "1000000")["places"]
    plan = json.loads(Path("data/planted.json").read_text(encoding="utf-8"))
    counts = sorted(count(plan, card, findings, quality), key=lambda line: line.kind)
    if options.json:
        print(json.dumps([asdict(line) for line in counts]))
        return
    print(f"{'kind':24}{'planted':>9}{'found':>7}{'missed':>8}{'wrongly found':>15}")
    for line in counts:
        left_alone = line.kind.endswith(NEAR_MISS)
        print(f"{line.kind:24}{line.planted:9}{line.found:7}{line.missed:8}{line.wrong:15}", end="")
        print("  (found: left alone)" if left_alone else "")


if __name__ == "__main__":
    main()
