"""Detector of names by what stands around them: persons, their titles, organisations, and the towns of contact blocks.

Place on the road: one entry of ``inspection.detectors.DETECTORS`` for several kinds, since a title or a line of a
signature gives away several at once. Needs no model of language; ``inspection.recognizer`` adds what one knows.
"""

from collections.abc import Iterator

from tuneward.domain.finding import Finding
from tuneward.inspection.contact_blocks import find_contact_blocks
from tuneward.inspection.introductions import INTRODUCED, TITLED, find_introduced, find_titled
from tuneward.inspection.organisations import HOUSED, find_organisations
from tuneward.inspection.sketch import sketch


def find_names(text: str) -> Iterator[Finding]:
    """Find ``person``, ``title``, ``organisation``, and ``place`` where it is a line of a contact block."""
    mask = sketch(text).mask
    if mask & TITLED:
        yield from find_titled(text)
    if mask & INTRODUCED:
        yield from find_introduced(text)
    if mask & HOUSED:
        yield from find_organisations(text)
    if "\n" in text:
        yield from find_contact_blocks(text)
