"""Toxicity: insults and slurs by a list of words in five languages.

Place on the road: one of ``detectors.DETECTORS``. A list knows words, not meaning: quoted insults, a lexicon or a court
file are found as well, and politely worded hatred is not. So the suggestion is never more than to look.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from tuneward.inspection.lexicon import split
from tuneward.inspection.normal_form import normal_form
from tuneward.inspection.quality.issue import Issue, Suggestion

_WORD: Final = re.compile(r"\w+")
_RULES: Final[dict[str, tuple[float, Suggestion]]] = {"strong": (0.6, "look"), "mild": (0.3, "look")}


def toxicity(text: str) -> Iterator[Issue]:
    """An insult or slur, whole words only."""
    folded = normal_form(text)
    words = set(_WORD.findall(folded))
    for rule, (weight, advice) in _RULES.items():
        if not _firsts(rule).isdisjoint(words) and _pattern(rule).search(folded):
            yield Issue("toxicity", rule, weight, advice)
            return


@cache
def _firsts(rule: str) -> frozenset[str]:
    """First words of all that is listed: most texts have none of them."""
    return frozenset(_WORD.findall(normal_form(word))[0] for listed in _lists()[rule].values() for word in listed)


@cache
def _pattern(rule: str) -> re.Pattern[str]:
    words = {word for listed in _lists()[rule].values() for word in listed}
    longest_first = sorted(map(normal_form, words), key=lambda word: (-len(word), word))
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")


@cache
def _lists() -> dict[str, dict[str, list[str]]]:
    """Rule → language → words."""
    text = files("tuneward.inspection.quality").joinpath("toxicity.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return {rule: {tongue: split(written) for tongue, written in loaded[rule].items()} for rule in _RULES}
