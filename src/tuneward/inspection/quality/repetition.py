"""Repetition: texts that say the same over and over.

Place on the road: one of ``detectors.DETECTORS``. Shares follow the rules for repetition of Gopher's corpus (Rae et al.
2021, table A1): characters in the most frequent run of words, and in lines that stand twice; the bounds are our own,
chosen on the tuned half of ``benchmarks.quality_detectors``, since answers are shorter than web pages.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tuneward.inspection.quality.issue import Issue

_FEWEST_WORDS: Final = 12
_MOST_WORDS: Final = 20_000
_SIGNS: Final = re.compile(r"([^\s\d.=*_\-#~|/])\1{9,}")
#: Words in a run → share of all words that the most frequent run may make up.
_RUNS: Final = {1: 0.5, 2: 0.34, 4: 0.3, 8: 0.3, 16: 0.34}
_LINES: Final = 0.4
#: Words at the end in which a loop is looked for; how often its run must come, by its length, and a run of signs.
_TAIL_WORDS: Final = 400
_TIMES: Final = {1: 7, 2: 5, 3: 4}
_TIMES_OF_SIGNS: Final = 12


def repetition(text: str) -> Iterator[Issue]:
    """One run of words, one line or one letter again and again, or a loop at the end."""
    if _SIGNS.search(text):
        yield Issue("repetition", "letter", 0.4, "look")
    if _loops(text.casefold().split()[-_TAIL_WORDS:]):
        yield Issue("repetition", "loop", 0.8, "drop")
        return
    words = [word for word in text.casefold().split(None, _MOST_WORDS)[:_MOST_WORDS] if any(map(str.isalnum, word))]
    if len(words) < _FEWEST_WORDS:
        return
    if _repeats(words):
        yield Issue("repetition", "words", 0.8, "drop")
        return
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 15]
    if len(lines) >= 4:
        repeated = sum(len(line) * (count - 1) for line, count in Counter(lines).items())
        if repeated > _LINES * sum(map(len, lines)):
            yield Issue("repetition", "lines", 0.6, "repair")


def _repeats(words: list[str]) -> bool:
    """Whether one run makes up more than its share; longer ones are counted where some pair of words comes thrice."""
    if Counter(words).most_common(1)[0][1] > _RUNS[1] * len(words):
        return True
    if Counter(pairwise(words)).most_common(1)[0][1] < 3:
        return False
    return any(_share(words, length) > most for length, most in _RUNS.items() if length > 1)


def _share(words: list[str], length: int) -> float:
    """Share of the words in the most frequent run of ``length``, where that stands three times or more."""
    if len(words) < 3 * length:
        return 0.0
    runs = Counter(zip(*(words[start:] for start in range(length)), strict=False))
    run, count = runs.most_common(1)[0]
    if length > 1 and len(set(run)) == 1:
        return 0.0  # counted as a run of one
    return count * length / len(words) if count >= 3 else 0.0


def _loops(words: list[str]) -> bool:
    """Whether the text ends in a run of one to sixteen words that comes over and over, as models do that are stuck."""
    for length in range(1, 17):
        times = 1
        run = words[-length:]
        if len(run) < length:
            return False
        while words[-(times + 1) * length : -times * length] == run:
            times += 1
        says = any(character.isalnum() for word in run for character in word)
        if times >= (_TIMES.get(length, 4) if says else _TIMES_OF_SIGNS):
            return True
    return False
