"""Language: a guess among English, German, Italian, French and Spanish, by function words and letters.

Place on the road: asked by ``data.quality`` for every row. A text of fewer than two known words, or one that two
languages claim, is ``unknown``. Function words make up about half of running text in each of the five; the most
frequent words of each stand in ``language.yaml``, and a word of two languages counts half for each.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

LANGUAGES: Final = ("en", "de", "it", "fr", "es")
UNKNOWN: Final = "unknown"
_LETTERS: Final = {"ß": "de", "ä": "de", "ñ": "es", "¿": "es", "¡": "es", "œ": "fr", "ê": "fr", "ç": "fr", "ì": "it"}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CHARACTERS: Final = 2000
_FEWEST: Final = 2.0
_AHEAD: Final = 1.3


def guess(text: str) -> str:
    """``en``, ``de``, ``it``, ``fr``, ``es`` or ``unknown``, by the first two thousand characters."""
    folded = text[:_CHARACTERS].casefold()
    scores = dict.fromkeys(LANGUAGES, 0.0)
    for word in _WORD.findall(folded):
        languages = _languages_of(word.replace("’", "'"))
        for language in languages:
            scores[language] += 1.0 / len(languages)
    for letter, language in _LETTERS.items():
        scores[language] += min(2, folded.count(letter))
    (first, most), (_, second), *_ = sorted(scores.items(), key=lambda item: -item[1])
    return first if most >= max(_FEWEST, _AHEAD * second) else UNKNOWN


@cache
def _words() -> dict[str, Any]:
    text = files("tuneward.inspection.quality").joinpath("language.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


@cache
def _table() -> dict[str, tuple[str, ...]]:
    table: dict[str, list[str]] = {}
    for language in LANGUAGES:
        for word in dict.fromkeys(str(_words()[language]).split()):
            table.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in table.items()}


def _languages_of(word: str) -> tuple[str, ...]:
    table = _table()
    if word in table:
        return table[word]
    head, apostrophe, tail = word.partition("'")  # l'acqua, d'accord, c'est, dell'anno
    if apostrophe and len(head) <= 4 and len(tail) > 1:
        return ("it",) if head in {"dell", "all", "nell", "un", "quell", "sull"} else ("fr", "it")
    return ()
