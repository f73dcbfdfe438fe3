"""Detectors that need the whole set: outliers of length and of likelihood, and contamination, on planted faults.

    python -m benchmarks.quality_sets

Texts of hh-rlhf, MTS-Dialog, gsm8k and E2E from the folder named by ``TUNEWARD_TEST_DATA``, drawn by seed. *Length*:
into the answers of one source a hundred are planted that are thirty answers run together or one word; an answer
counts as accused by the bound that ``data.quality`` uses. *Perplexity*: a character model of order five, learned from
half of a source, stands in for a base model and gives the bits per character of the other half, into which a hundred
texts each are planted that are shuffled, of another language, random letters, or one word over and over.
*Contamination*: a third of gsm8k is tested; into other rows tested questions are planted, whole or in part, and
edited; what of them is accused, and what of the rows without. Nothing was tuned here but that tested questions count
by themselves.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.mixed_chat import typos
from benchmarks.quality_detectors import answers
from tuneward.data.contamination import LEAST_SHARE
from tuneward.evaluation.intervals import wilson
from tuneward.inspection.near_lookup import NearLookup
from tuneward.inspection.ngrams import Ngrams
from tuneward.inspection.normal_form import normal_form
from tuneward.inspection.quality.outliers import robust_scores
from tuneward.settings import Settings

PLANTED: Final = 100
ORDER: Final = 5
#: Robust standard deviations beyond which ``data.quality`` accuses.
FAR: Final = 6.0

Plant = Callable[[Sequence[str], random.Random], str]


class CharacterModel:
    """Characters by the four before them, with less where that was never seen (stupid backoff, Brants et al. 2007)."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts: Counter[str] = Counter()
        for text in texts:
            for at in range(len(text)):
                for order in range(ORDER):
                    self._counts[text[max(0, at - order) : at + 1]] += 1
        self._total = sum(len(text) for text in texts)

    def bits(self, text: str) -> float:
        """Mean bits per character."""
        return sum(self._bits_at(text, at) for at in range(len(text))) / max(1, len(text))

    def _bits_at(self, text: str, at: int) -> float:
        penalty = 0.0
        for order in range(ORDER - 1, -1, -1):
            whole, before = text[max(0, at - order) : at + 1], text[max(0, at - order) : at]
            held = self._counts[before] if before else self._total
            if self._counts[whole] and held:
                return penalty - math.log2(self._counts[whole] / held)
            penalty += math.log2(2.5)
        return penalty + math.log2(self._total + 1)


LENGTHS: Final[dict[str, Plant]] = {
    "thirty run together": lambda pool, draw: " ".join(draw.choices(pool, k=30)),
    "one word": lambda pool, draw: draw.choice(pool).split()[0],
}


def _shuffled(pool: Sequence[str], draw: random.Random) -> str:
    words = draw.choice(pool).split()
    return " ".join(draw.sample(words, len(words)))


def _random_letters(pool: Sequence[str], draw: random.Random) -> str:
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", k=200))


def _one_word(pool: Sequence[str], draw: random.Random) -> str:
    return " ".join([draw.choice(draw.choice(pool).split())] * 40)


def measure_outliers(values: Sequence[float], planted: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """For each kind of fault, planted alone: how many of it and how many others lie further out than the bound."""
    told = []
    for faults in planted:
        far = abs(robust_scores([*values, *faults])) > FAR
        told.append((int(far[len(values) :].sum()), int(far[: len(values)].sum())))
    return told


def _say(what: str, found: int, of: int, accused: int, clean: int) -> None:
    (low, high), (least, most) = wilson(found, of), wilson(found, max(1, found + accused))
    share = found / max(1, found + accused)
    print(
        f"{what:48} recall {found / of:.2f} [{low:.2f}, {high:.2f}], n = {of}; precision {share:.3f} "
        f"[{least:.3f}, {most:.3f}]; {accused} of {clean:,} others accused"
    )


def sources(data: Path) -> dict[str, list[str]]:
    """Answers by where they come from, none twice, those of twelve words or more."""
    told: dict[str, list[str]] = {"hh-rlhf, MTS-Dialog": [], "gsm8k": [], "E2E": []}
    for text in dict.fromkeys(answers(data)):
        if len(text.split()) >= 12 and not text.startswith("{"):
            told["gsm8k" if "\n####" in text else "E2E" if " ." in text else "hh-rlhf, MTS-Dialog"].append(text)
    return told


def lengths(texts: dict[str, list[str]]) -> None:
    """Outliers of the logarithm of the number of characters."""
    for source, pool in texts.items():
        draw = random.Random(f"length {source}")
        values = [math.log1p(len(text)) for text in pool]
        planted = [[math.log1p(len(plant(pool, draw))) for _ in range(PLANTED)] for plant in LENGTHS.values()]
        for name, (found, accused) in zip(LENGTHS, measure_outliers(values, planted), strict=True):
            _say(f"length, {source}: {name}", found, PLANTED, accused, len(values))


def perplexities(texts: dict[str, list[str]], german: list[str]) -> None:
    """Outliers of bits per character."""
    plants: dict[str, Plant] = {
        "words shuffled": _shuffled,
        "German": lambda pool, draw: draw.choice(german),
        "random letters": _random_letters,
        "one word over and over": _one_word,
    }
    for source, pool in texts.items():
        draw = random.Random(f"perplexity {source}")
        mixed = draw.sample(pool, min(1600, len(pool)))
        learned, judged = mixed[::2], mixed[1::2]
        model = CharacterModel(learned)
        values = [model.bits(text) for text in judged]
        planted = [[model.bits(plant(judged, draw)) for _ in range(PLANTED)] for plant in plants.values()]
        for name, (found, accused) in zip(plants, measure_outliers(values, planted), strict=True):
            _say(f"perplexity, {source}: {name}", found, PLANTED, accused, len(values))


def contamination(data: Path, clean: list[str]) -> None:
    """Tested questions inside of training rows, by the lookups of ``data.contamination``."""
    lines = (data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [(item["question"], item["answer"]) for item in map(json.loads, lines)]
    tested, others = rows[::3], rows[1::3] + rows[2::3] + [("Please go on.", text) for text in clean]
    asked = [normal_form(question) for question, _ in tested]
    near, ngrams = NearLookup(asked), Ngrams([normal_form(f"{ask}\n{answer}") for ask, answer in tested], asked)

    def looked(training: Sequence[tuple[str, str]]) -> Counter[str]:
        found = near.match([normal_form(question) for question, _ in training])
        held = {
            share.text
            for share in ngrams.look([normal_form(f"{ask}\n{answer}") for ask, answer in training], least=LEAST_SHARE)
        }
        return Counter(
            "near" if item is not None else "n-gram"
            for number, item in enumerate(found)
            if item is not None or number in held
        )

    draw = random.Random("contamination")
    edits: dict[str, Callable[[str], str]] = {
        "question alone": lambda text: text,
        "question alone, mistyped": lambda text: typos(text, draw),
        "question within other text": lambda text: _within(text, clean, draw),
        "question within, mistyped": lambda text: _within(typos(text, draw), clean, draw),
        "three quarters of it within": lambda text: _within(text[: len(text) * 3 // 4], clean, draw),
        "half of it within": lambda text: _within(text[: len(text) // 2], clean, draw),
    }
    accused = looked(others).total()
    for name, edit in edits.items():
        chosen = draw.sample(tested, PLANTED * 2)
        kinds = looked([(edit(question), "See above.") for question, _ in chosen])
        said = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
        _say(f"contamination: {name} ({said})", kinds.total(), len(chosen), accused, len(others))


def _within(text: str, clean: Sequence[str], draw: random.Random) -> str:
    return f"{draw.choice(clean)} {text} {draw.choice(clean)}"


def main() -> None:
    """Measure all three."""
    data = Settings.from_environment().test_data
    if data is None:
        raise SystemExit("TUNEWARD_TEST_DATA names no folder with hh-rlhf, mts-dialog, gsm8k, e2e, xquad")
    texts = sources(data)
    loaded = json.loads((data / "xquad" / "xquad.de.json").read_text(encoding="utf-8"))["data"]
    german = [paragraph["context"] for article in loaded for paragraph in article["paragraphs"]]
    lengths(texts)
    perplexities(texts, german)
    contamination(data, texts["hh-rlhf, MTS-Dialog"])


if __name__ == "__main__":
    main()
