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
from tuneward.inspection.addresses import find_addresses, find_postcodes
from tuneward.inspection.contacts import find_emails, find_phones
from tuneward.inspection.dates import find_ages, find_dates
from tuneward.inspection.identifiers import find_national_ids
from tuneward.inspection.labelled import find_labelled
from tuneward.inspection.lexicon import (
    SPECIAL_KINDS,
    find_nationalities,
    find_places,
    find_special_categories,
)
from tuneward.inspection.names import find_names
from tuneward.inspection.network import find_coordinates, find_hosts, find_urls
from tuneward.inspection.overlaps import beside, resolve
from tuneward.inspection.secrets import find_secrets
from tuneward.inspection.sketch import sketch


class Detector(Protocol):
    """Finds one kind of thing in a text.

    Law: time linear in the text's length, whatever it holds; spans lie within the text and are not empty.
    """

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Yield findings, in any order."""


#: Kind → detector. Several detectors find more than one kind in one pass; each of their kinds stands here.
DETECTORS: Mapping[str, Detector] = {
    "address": find_addresses,
    "age": find_ages,
    "api_key": find_secrets,
    "card": find_cards,
    "connection_string": find_secrets,
    "coordinates": find_coordinates,
    "date": find_dates,
    "date_of_birth": find_dates,
    "driving_licence": find_labelled,
    "email": find_emails,
    "iban": find_ibans,
    "insurance_id": find_labelled,
    "ip": find_hosts,
    "jwt": find_secrets,
    "licence_plate": find_labelled,
    "mac": find_hosts,
    "medical_id": find_labelled,
    "national_id": find_national_ids,
    "nationality": find_nationalities,
    "organisation": find_names,
    "passport": find_labelled,
    "password": find_secrets,
    "person": find_names,
    "phone": find_phones,
    "place": find_places,
    "postcode": find_postcodes,
    "private_key": find_secrets,
    "title": find_names,
    "url": find_urls,
    **dict.fromkeys(SPECIAL_KINDS, find_special_categories),
}


def inspect(text: str, *, kinds: Iterable[str] | None = None, ner: Detector | None = None) -> list[Finding]:
    """Find everything that the detectors know in ``text``.

    Args:
        text: what to look at; any string, lone surrogates and control characters included.
        kinds: keys of :data:`DETECTORS`; all of them by default.
        ner: one more detector, made by :func:`tuneward.inspection.recognizer.recognizer`.

    Returns:
        Findings by position. None lies within another of the same or a higher confidence; they may still overlap at
        their ends. The order in which detectors run does not change the result.
    """
    if kinds is None:
        chosen = _ALL if sketch(text).digits else _WORDY
        found = [finding for detector in chosen for finding in detector(text)]
    else:
        wanted = frozenset(kinds)
        named = dict.fromkeys(DETECTORS[kind] for kind in sorted(wanted))
        found = [finding for detector in named for finding in detector(text) if finding.kind in wanted]
    if ner is not None:
        found += beside(ner(text), found)
    return resolve(found)


_ALL = tuple(dict.fromkeys(DETECTORS.values()))
#: Those that can find something in a text without a digit.
_WORDY = tuple(
    detector
    for detector in _ALL
    if detector
    in {find_emails, find_names, find_nationalities, find_places, find_secrets, find_special_categories, find_urls}
)
