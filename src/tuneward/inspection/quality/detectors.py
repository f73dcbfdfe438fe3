"""Detectors of quality: every check that looks at one answer alone, under its name.

Place on the road: ``data.quality`` asks :func:`issues_of` for each row. A new check is a function here; what needs the
whole data set (lengths, labels, likelihoods) stands in files of its own.
"""

from collections.abc import Callable, Iterable
from typing import Final

from tuneward.inspection.quality.issue import Issue
from tuneward.inspection.quality.repetition import repetition
from tuneward.inspection.quality.residue import assistant_phrase, placeholder
from tuneward.inspection.quality.toxicity import toxicity
from tuneward.inspection.quality.truncation import broken_json, truncated

#: Texts beyond this many characters are judged by their first and last halves of it.
MOST_CHARACTERS: Final = 100_000

DETECTORS: Final[dict[str, Callable[[str], Iterable[Issue]]]] = {
    "assistant_phrase": assistant_phrase,
    "broken_json": broken_json,
    "placeholder": placeholder,
    "repetition": repetition,
    "toxicity": toxicity,
    "truncated": truncated,
}

#: Checks that make no sense of a passage of a document, which may end anywhere and speak of anything.
_NOT_OF_DOCUMENTS: Final = frozenset(("truncated", "broken_json", "assistant_phrase"))


def issues_of(text: str, *, document: bool = False) -> list[Issue]:
    """What the detectors say of an answer, or of a document's text.

    Args:
        text: as the model would learn it.
        document: leaves out what is no fault of a passage.
    """
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        text = f"{text[:half]}\n{text[-half:]}"
    names = [name for name in DETECTORS if not (document and name in _NOT_OF_DOCUMENTS)]
    return [issue for name in names for issue in DETECTORS[name](text)]
