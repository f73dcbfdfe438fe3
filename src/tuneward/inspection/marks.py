"""Marks: classification stamps such as CONFIDENTIAL, STRENG VERTRAULICH or TLP:RED, in five languages.

Place on the road: a detector of kind ``confidential``; the stamps stand in ``marks.yaml``. A word like *confidential*
in a sentence is no stamp: it counts in capitals, on a line of its own, or after a label (``Classification: …``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tuneward.domain.finding import Finding
from tuneward.inspection.linear import LinearPattern

KIND: Final = "confidential"
_CAPITALS, _STANDING_ALONE, _LABELLED = 0.85, 0.9, 0.95
_AROUND: Final = r"[\s*#=_\-–—|>\[\](){}.:!/\"'«»<]"


@dataclass(frozen=True)
class _Stamps:
    """Patterns made from ``marks.yaml``; ``levels`` maps a stamp in capitals, one space between words, to its level."""

    capitals: LinearPattern
    alone: LinearPattern
    labelled: LinearPattern
    any_case: re.Pattern[str]
    levels: Mapping[str, str]


def marks_expression() -> str:
    """Where :func:`find_marks` may find something."""
    read = _read()
    every = [stamp for part in ("stamps", "weak") for listed in read[part].values() for stamp in listed]
    return f"(?i:{_either(every)})"


def find_marks(text: str) -> Iterator[Finding]:
    """Find stamps, in no particular order and possibly one within another."""
    stamps = _stamps()
    for start, end in stamps.capitals.spans(text):
        if not text[start - 1 : start].isalnum() and not text[end : end + 1].isalnum():
            yield _finding(text, start, end, _CAPITALS, stamps)
    for pattern, confidence in ((stamps.alone, _STANDING_ALONE), (stamps.labelled, _LABELLED)):
        for start, end in pattern.spans(text):
            for last in list(stamps.any_case.finditer(text, start, end))[-1:]:  # the label may hold a stamp's word
                yield _finding(text, last.start(), last.end(), confidence, stamps)


def _finding(text: str, start: int, end: int, confidence: float, stamps: _Stamps) -> Finding:
    level = stamps.levels[_plain(text[start:end])]
    return Finding(KIND, start, end, confidence, f"{KIND}.{level}")


def _plain(stamp: str) -> str:
    return " ".join(stamp.upper().split())


@cache
def _read() -> Mapping[str, Any]:
    read: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("marks.yaml").read_text(encoding="utf-8"))
    return read


@cache
def _stamps() -> _Stamps:
    read = _read()
    strong = {stamp: level for level, listed in read["stamps"].items() for stamp in listed}
    every = strong | {stamp: level for level, listed in read["weak"].items() for stamp in listed}
    label, stamp = _either(read["labels"]), _either(every)
    return _Stamps(
        capitals=LinearPattern(_either(strong)),
        alone=LinearPattern(rf"(?im:^{_AROUND}{{0,40}}{stamp}{_AROUND}{{0,40}}$)"),
        labelled=LinearPattern(
            rf"(?im:\b{label}[\"'*]{{0,3}}[ \t]{{0,3}}[:=][ \t\"'*\[]{{0,6}}{stamp}[ \t\"'*\])}}]{{0,6}}(?:[.,;/|]|$))"
        ),
        any_case=re.compile(rf"(?<![^\W_]){_either(every)}(?![^\W_])", re.IGNORECASE),
        levels={_plain(name): level for name, level in every.items()},
    )


def _either(phrases: Any) -> str:
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    return "(?:" + "|".join(re.escape(phrase).replace(r"\ ", r"[ \t]{1,3}") for phrase in longest_first) + ")"
