"""Residue: what a template or another model left in a text: "As an AI…", ``{name}``, lorem ipsum.

Place on the road: one of ``detectors.DETECTORS``. Phrases are compared in normal form, in English, German, Italian,
French and Spanish. A tuned model that says whose model it is has learned it from rows like these.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final

import yaml

from tuneward.inspection.normal_form import normal_form
from tuneward.inspection.quality.issue import Issue

_WORD: Final = re.compile(r"\w+")
_LOREM: Final = re.compile(r"\blorem ipsum\b|\bdolor sit amet\b")
_CODE: Final = re.compile(r"```|\bdef \w|\bfunction\b|=>|f\"|f'|</\w|;\s*\n|\\frac|\\begin")
_BLANK: Final = re.compile(r"(?<![\w*_\-])_{3,30}(?![\w*_\-])")
_TODO: Final = re.compile(r"\b(?:TODO|FIXME|TBD)\b(?::|$)", re.MULTILINE)


def assistant_phrase(text: str) -> Iterator[Issue]:
    """An assistant about itself."""
    folded = normal_form(text).replace("’", "'")
    if not _words().isdisjoint(_WORD.findall(folded)) and _pattern("assistant").search(folded):
        yield Issue("assistant_phrase", "about_itself", 0.5, "repair")


def placeholder(text: str) -> Iterator[Issue]:
    """Something that was to be filled in. Braces do not count in a text that looks like code."""
    if _LOREM.search(text.casefold()):
        yield Issue("placeholder", "lorem_ipsum", 0.9, "drop")
    if _pattern("placeholder").search(text) and not _CODE.search(text):
        yield Issue("placeholder", "unfilled", 0.5, "repair")
    elif _BLANK.search(text) and not _CODE.search(text):
        yield Issue("placeholder", "blank", 0.3, "look")
    elif _TODO.search(text) and not _CODE.search(text):
        yield Issue("placeholder", "todo", 0.3, "look")


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in _data()[name].splitlines()), re.IGNORECASE)


@cache
def _words() -> frozenset[str]:
    return frozenset(_data()["assistant_words"].split())


@cache
def _data() -> dict[str, str]:
    text = files("tuneward.inspection.quality").joinpath("residue.yaml").read_text(encoding="utf-8")
    loaded: dict[str, str] = yaml.safe_load(text)
    return loaded
