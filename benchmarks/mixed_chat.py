"""Mixed chat: rows of many sources with planted near-duplicates, for ``benchmarks.near_duplicates``.

Parts (sentences, questions, messages) of hh-rlhf, clinc150, gsm8k, MTS-Dialog, E2E and SMS spam, from the folder named
by ``TUNEWARD_TEST_DATA``, are put together anew by a seeded draw, so that distinct rows differ by construction: a row
has three parts at least, none of them more than half of it, and no two parts stand together in more than one row, so
that two distinct rows share at most one part. One row in twenty is *hard*: three fifths of it are taken from another
row.
"""

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHORTEST, LONGEST = 12, 400
_TYPED = "abcdefghijklmnopqrstuvwxyz"
_SIGNS = (".", ",", "!", "?", ";", " -", "...")


@dataclass(frozen=True)
class Planted:
    """Rows, and which of them belong together.

    Attributes:
        rows: texts in a drawn order.
        groups: for each row the number of the original it comes from.
        edits: for each row the edit that made it, "" for an original.
    """

    rows: list[str]
    groups: list[int]
    edits: list[str]


def parts_of(data: Path) -> list[str]:
    """All distinct parts, in an order that is always the same."""
    found = dict.fromkeys(part for text in _texts(data) for part in _sentences(text))
    return list(found)


def plant(parts: list[str], *, count: int, seed: int, edits: dict[str, Callable[[str, random.Random], str]]) -> Planted:
    """Draw ``count`` rows: four fifths originals, the others edited copies of originals, up to three of each.

    Args:
        parts: see :func:`parts_of`.
        count: rows wanted.
        seed: of every draw.
        edits: name → what makes a copy of a row.
    """
    draw = random.Random(seed)
    rows, together = list[str](), set[tuple[int, int]]()
    originals = count * 4 // 5
    while len(rows) < originals:
        row = _compose(parts, draw, together)
        if row and len(rows) % 20 == 19:
            row = _hard(draw.choice(rows), row)
        if row:
            rows.append(row)
    groups, made = list(range(originals)), [""] * originals
    while len(rows) < count:
        origin = draw.randrange(originals)
        name = draw.choice(sorted(edits))
        rows.append(edits[name](rows[origin], draw))
        groups.append(origin)
        made.append(name)
    order = list(range(count))
    draw.shuffle(order)
    return Planted([rows[i] for i in order], [groups[i] for i in order], [made[i] for i in order])


def _compose(parts: list[str], draw: random.Random, together: set[tuple[int, int]]) -> str | None:
    chosen = sorted(draw.sample(range(len(parts)), 3 + min(12, int(draw.expovariate(0.35)))))
    total = sum(len(parts[i]) for i in chosen)
    if max(len(parts[i]) for i in chosen) * 2 > total:
        return None
    pairs = {(a, b) for place, a in enumerate(chosen) for b in chosen[place + 1 :]}
    if pairs & together:
        return None
    together |= pairs
    draw.shuffle(chosen)
    return " ".join(parts[i] for i in chosen)


def _hard(other: str, row: str) -> str | None:
    """The beginning of another row and the end of a fresh one, three to two; None where either is too short."""
    length = min(len(other), len(row) * 3 // 2)
    taken, fresh = other[: length * 3 // 5], row[-(length * 2 // 5) :]
    return f"{taken} {fresh}" if length >= 100 else None


# Edits: each takes a row and gives a copy that a reader would call the same. ------------------------------------------


def typos(row: str, draw: random.Random) -> str:
    """One to four characters per hundred left out, doubled, swapped or mistyped."""
    letters = list(row)
    for _ in range(max(1, round(len(row) * draw.uniform(0.01, 0.04)))):
        at = draw.randrange(len(letters) - 1)
        kind = draw.randrange(4)
        if kind == 0:
            del letters[at]
        elif kind == 1:
            letters.insert(at, letters[at])
        elif kind == 2:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        else:
            letters[at] = draw.choice(_TYPED)
    return "".join(letters)


def case(row: str, draw: random.Random) -> str:
    """All in capitals, all small, or with Capitals."""
    return draw.choice((str.upper, str.lower, str.title))(row)


def punctuation(row: str, draw: random.Random) -> str:
    """Signs left out, or one put behind every fifth word or so."""
    if draw.random() < 0.5:
        return re.sub(r"[^\w\s]", "", row)
    return " ".join(word + draw.choice(_SIGNS) if draw.random() < 0.2 else word for word in row.split(" "))


def swaps(row: str, draw: random.Random) -> str:
    """Neighbouring words exchanged, at one place per 25 words."""
    words = row.split()
    for _ in range(max(1, len(words) // 25)):
        at = draw.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def replaced(row: str, draw: random.Random) -> str:
    """One word in twenty is another word of the row."""
    words = row.split()
    for _ in range(max(1, len(words) // 20)):
        words[draw.randrange(len(words))] = draw.choice(words)
    return " ".join(words)


def prefix(row: str, draw: random.Random) -> str:
    """A greeting or instruction before it."""
    words = ("Hello,", "Please answer:", "Hi there! Quick question:", "User:", "Answer the following.", "Re: Fwd:")
    return f"{draw.choice(words)} {row}"


def suffix(row: str, draw: random.Random) -> str:
    """A closing phrase behind it."""
    words = ("Thanks!", "Thank you very much.", "Kind regards", "Sent from my phone", "Let me know. Best,", "(edited)")
    return f"{row} {draw.choice(words)}"


def truncated(row: str, draw: random.Random) -> str:
    """A tenth to a third of the end is missing."""
    return row[: round(len(row) * draw.uniform(0.67, 0.9))]


def spaced(row: str, draw: random.Random) -> str:
    """Lines broken elsewhere, two spaces here and there."""
    return re.sub(" ", lambda _: draw.choice((" ", " ", " ", "  ", "\n")), row)


#: The edits on which thresholds were chosen, and those on which the figures are reported.
TUNED = {"typos": typos, "case": case, "prefix": prefix, "swaps": swaps}
REPORTED = {
    "typos": typos,
    "punctuation": punctuation,
    "replaced words": replaced,
    "suffix": suffix,
    "truncation": truncated,
    "white space": spaced,
    "swaps": swaps,
    "case": case,
    "prefix": prefix,
}

# Sources. -------------------------------------------------------------------------------------------------------------


def _texts(data: Path) -> Iterator[str]:
    for line in _lines(data / "hh-rlhf" / "pairs.jsonl"):
        yield from re.split(r"\n\n(?:Human|Assistant): ?", json.loads(line)["chosen"])
    for split in json.loads((data / "clinc150" / "data_full.json").read_text(encoding="utf-8")).values():
        yield from (query for query, _ in split)
    for line in _lines(data / "gsm8k" / "test.jsonl"):
        value = json.loads(line)
        yield from (value["question"], value["answer"].partition("####")[0])
    for path in sorted((data / "mts-dialog").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            for row in csv.DictReader(handle):
                yield from (row["section_text"], *row["dialogue"].splitlines())
    for name in ("train.txt", "test.txt"):
        yield from (line.partition("||")[2] for line in _lines(data / "e2e" / name))
    yield from (line.partition("\t")[2] for line in _lines(data / "sms-spam" / "SMSSpamCollection")[1:])


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _sentences(text: str) -> Iterator[str]:
    for sentence in re.split(r"(?<=[.!?])\s+|\n", text):
        folded = " ".join(sentence.split())
        if SHORTEST <= len(folded) <= LONGEST:
            yield folded
