"""Lexicons: kinds that are known by their words alone: special categories, nationalities, countries and large cities.

Place on the road: entries of ``inspection.detectors.DETECTORS``. The words stand in ``lexicons/*.yaml``, by language. A
word of a special category (GDPR Art. 9) says that a text touches the category, not that it is about a person. Not
caught: what is said without such a word, and words outside the files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any, Final

import yaml

from tuneward.domain.finding import Finding
from tuneward.inspection.introductions import names_no_person
from tuneward.inspection.letters import CAPITALISED
from tuneward.inspection.sketch import Sketch, any_of, lower, sketch, vocabulary, words

_LETTERS = re.compile(r"[^\W\d_]+")


class Lexicon:
    """Phrases with labels, found whole, the longest first; costs nothing where none of their rarest words stands.

    Attributes:
        words: of which one stands in every text that holds a phrase.
    """

    def __init__(self, phrases: Mapping[str, str]) -> None:
        """Take phrase → label; case does not matter."""
        self._by_word: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        for phrase, label in phrases.items():
            lowered = lower(phrase)
            word = max(_LETTERS.finditer(lowered), key=lambda found: len(found[0]))
            self._by_word[word[0]].append((lowered, word.start(), label))
        for entries in self._by_word.values():
            entries.sort(key=lambda entry: -len(entry[0]))
        self.words = vocabulary(self._by_word)

    def find(self, seen: Sketch) -> Iterator[tuple[int, int, str]]:
        """Where phrases stand: (start, end, label)."""
        if not seen.holds(self.words):
            return
        lowered = seen.lowered
        for place, _, word in seen.places(self.words):
            for phrase, offset, label in self._by_word[word]:
                start = place - offset
                end = start + len(phrase)
                if start >= 0 and lowered.startswith(phrase, start) and _stands_alone(lowered, start, end):
                    yield start, end, label
                    break


def _stands_alone(lowered: str, start: int, end: int) -> bool:
    before, after = lowered[max(0, start - 1) : start], lowered[end : end + 1]
    return not (before.isalnum() or before == "_" or after.isalnum() or after == "_")


def read(name: str) -> dict[str, Any]:
    """One of the files of words."""
    text = resources.files("tuneward.inspection").joinpath("lexicons", name).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def split(written: str) -> list[str]:
    """Phrases between semicolons."""
    return [phrase.strip() for phrase in written.split(";") if phrase.strip()]


_SPECIAL_FILE: Final = read("special_categories.yaml")
#: Kinds of the special categories: ``special_health``…
SPECIAL_KINDS: Final = tuple(f"special_{category}" for category in _SPECIAL_FILE)
SPECIAL: Final = Lexicon(
    {
        phrase: f"special_{category}.{language}"
        for category, languages in _SPECIAL_FILE.items()
        for language, written in reversed(languages.items())
        for phrase in split(written)
    }
)


def find_special_categories(text: str) -> Iterator[Finding]:
    """Find words of the special categories of Art. 9 GDPR; the rule names the language whose word it is."""
    for start, end, label in SPECIAL.find(sketch(text)):
        yield Finding(kind=label.partition(".")[0], start=start, end=end, confidence=0.7, rule=label)


_NATIONS: Final = read("nationalities.yaml")
NATIONALITIES: Final = Lexicon(
    {phrase: language for language in ("german", "english") for phrase in split(_NATIONS[language])}
)
_SELF = re.compile(r"\b(?:i am|i'm|he is|she is|he's|she's|we are|they are|being)(?: an?)? $", re.IGNORECASE)


_BODY = re.compile(r" (?:Union|Commission|Parliament|Council|Court|Airlines|Express|Broadcasting)\b")


def find_nationalities(text: str) -> Iterator[Finding]:
    """Find nationalities and peoples (kind ``nationality``), with a capital or behind *I am*."""
    for start, end, language in NATIONALITIES.find(sketch(text)):
        if _BODY.match(text, end):
            continue
        if text[start].isupper() or _SELF.search(text, max(0, start - 12), start):
            yield Finding("nationality", start, end, confidence=0.7, rule=f"nationality.{language}")


_PLACES: Final = read("places.yaml")
_CAPITALISED: Final = frozenset(split(_PLACES["capitalised"]))
_AMBIGUOUS: Final = frozenset(split(_PLACES["ambiguous"]))


def _place_names() -> Iterable[tuple[str, str]]:
    for kind in ("cities", "regions"):
        yield from ((phrase, kind) for phrase in split(_PLACES[kind]))
    for written in _PLACES["countries"].values():
        yield from ((phrase, "countries") for phrase in split(written))


_PLACE_NAMES = Lexicon(dict(_place_names()))
_LEADS_TO_PLACE = re.compile(
    r"(?:\b(?:in|from|to|of|near|through|across|visit(?:ed|ing)?|leaving|aus|nach|a|da|di|en|à|au|de|desde"
    r"|hasta)(?: the)?|,) $",
    re.IGNORECASE,
)
_CODE_BEHIND = re.compile(r"(?:, ?| )(?P<code>(?!(?:19|20)[0-9]{2}(?![0-9]))[0-9]{4,6})(?![\w\-]|[.,:][0-9]| [a-z])")
_CODE_BEFORE = re.compile(r"(?<![\w.,$€£\-])(?P<code>(?:[A-Z]{1,2}-)?[0-9]{5}),? $")
_MOVES = vocabulary(
    words(
        "live lives lived living born moved move moving travel travels travelling traveling travelled traveled based "
        "trip flight visit visits visited visiting returned returning flying flew grew raised located originally "
        "arrived arriving wohnt wohne lebt lebe geboren vive vivo abita abito habite nato nata né née nacido nacida "
        "city town village"
    )
)
#: Bits of the words without which there is no place.
PLACED: Final = any_of(_PLACE_NAMES.words, _MOVES)
_BEHIND_MOVE = re.compile(
    rf"(?: (?:here|back|up|away))?(?: (?:in|from|to|at|of|near|aus|nach|a|à|en|de))?(?: the)? "
    rf"(?P<name>{CAPITALISED}(?:[ \-]{CAPITALISED}){{0,2}}+)"
)
_NEEDS_LINK: Final = frozenset(words("visit visits visited visiting"))
_CONFIDENCE: Final = {"countries": 0.86, "regions": 0.8, "cities": 0.75}


def find_places(text: str) -> Iterator[Finding]:
    """Find countries, some regions and large cities by name (kind ``place``).

    A name that also belongs to persons counts only behind a preposition; one that is also a word needs its capital.
    """
    seen = sketch(text)
    for start, end, kind in _PLACE_NAMES.find(seen):
        name = seen.lowered[start:end]
        capital = text[start].isupper()
        if not capital and (kind != "countries" or name in _CAPITALISED or name in _AMBIGUOUS or end - start < 5):
            continue
        if name in _AMBIGUOUS and not _LEADS_TO_PLACE.search(text, max(0, start - 12), start):
            continue
        yield Finding("place", start, end, confidence=_CONFIDENCE[kind], rule=f"place.{kind}")
        if seen.digits >= 4:
            code = _CODE_BEHIND.match(text, end) or _CODE_BEFORE.search(text, max(0, start - 12), start)
            if code and (kind != "regions" or len(code["code"]) == 5):
                yield Finding("postcode", *code.span("code"), confidence=0.6, rule="postcode.beside_place")
    if seen.holds(_MOVES):
        for _, end, word in seen.places(_MOVES):
            found = _BEHIND_MOVE.match(text, end)
            if found is None or names_no_person(found["name"]) or text[found.end() : found.end() + 1].isdigit():
                continue
            if found["name"].endswith(("'s", "’s")):
                continue  # `visited Fred's house`
            if _LEADS_TO_PLACE.search(text, end, found.start("name")) or word in _NEEDS_LINK:
                yield Finding("place", *found.span("name"), confidence=0.55, rule="place.behind_word")
