"""Detectors and :func:`inspect`: one text in, findings out.

Place on the road: ``data`` inspects every row with it before it may train; the same inspection later guards prompts
and answers. A detector is a function from text to findings and stands in one explicit dict; a new one is added there,
with tests that pair what it must find with what it must leave alone. Detectors know no policy: what happens to a
finding is decided by whoever asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from tuneward.domain.finding import Finding
from tuneward.inspection.accounts import find_cards, find_ibans
from tuneward.inspection.contacts import find_emails, find_phones
from tuneward.inspection.overlaps import resolve
from tuneward.inspection.secrets import find_secrets


class Detector(Protocol):
    """Finds one kind of thing in a text.

    Law: time linear in the text's length, whatever it holds; spans lie within the text and are not empty.
    """

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Yield findings, in any order."""


#: Kind → detector.
DETECTORS: Mapping[str, Detector] = {
    "api_key": find_secrets,
    "card": find_cards,
    "email": find_emails,
    "iban": find_ibans,
    "phone": find_phones,
}


def inspect(text: str, *, kinds: Iterable[str] | None = None) -> list[Finding]:
    """Find everything that the detectors know in ``text``.

    Args:
        text: what to look at; any string, lone surrogates and control characters included.
        kinds: keys of :data:`DETECTORS`; all of them by default.

    Returns:
        Findings by position. None lies within another of the same or a higher confidence; they may still overlap at
        their ends. The order in which detectors run does not change the result.
    """
    chosen = DETECTORS.values() if kinds is None else [DETECTORS[kind] for kind in kinds]
    return resolve(finding for detector in chosen for finding in detector(text))
