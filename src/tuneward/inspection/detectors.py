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
from tuneward.inspection.addresses import find_addresses
from tuneward.inspection.contacts import find_emails, find_phones
from tuneward.inspection.dates import OLD, WEEKDAYS, find_ages, find_dates
from tuneward.inspection.identifiers import find_national_ids
from tuneward.inspection.labelled import find_labelled
from tuneward.inspection.lexicon import (
    NATIONALITIES,
    PLACED,
    SPECIAL,
    SPECIAL_KINDS,
    find_nationalities,
    find_places,
    find_special_categories,
)
from tuneward.inspection.names import find_names
from tuneward.inspection.network import find_coordinates, find_hosts, find_urls
from tuneward.inspection.overlaps import beside, resolve
from tuneward.inspection.postcodes import find_postcodes
from tuneward.inspection.secrets import find_secrets
from tuneward.inspection.sketch import any_of, sketch


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
        seen = sketch(text)
        found = [
            finding
            for detector, bits, sign in _BY_DIGITS[min(seen.digits, _MOST_ASKED)]
            if (not bits or seen.mask & bits) and sign in text
            for finding in detector(text)
        ]
    else:
        wanted = frozenset(kinds)
        named = dict.fromkeys(DETECTORS[kind] for kind in sorted(wanted))
        found = [finding for detector in named for finding in detector(text) if finding.kind in wanted]
    if ner is not None:
        found += beside(ner(text), found)
    return resolve(found)


_ALL = tuple(dict.fromkeys(DETECTORS.values()))
#: Detector → digits without which it finds nothing; those not named need none.
_LEAST_DIGITS: Mapping[Detector, int] = {
    find_addresses: 1,
    find_cards: 12,
    find_coordinates: 4,
    find_hosts: 1,
    find_ibans: 10,
    find_labelled: 1,
    find_national_ids: 6,
    find_phones: 7,
    find_postcodes: 2,
}
_MOST_ASKED = max(_LEAST_DIGITS.values())
#: Detector → bits of the words without which it finds nothing; the same in texts without a digit; a sign.
_NEEDED: Mapping[Detector, int] = {
    find_nationalities: any_of(NATIONALITIES.words),
    find_places: PLACED,
    find_special_categories: any_of(SPECIAL.words),
}
_NEEDED_WITHOUT_DIGITS: Mapping[Detector, int] = {find_ages: any_of(OLD), find_dates: any_of(WEEKDAYS), **_NEEDED}
_SIGNS: Mapping[Detector, str] = {find_emails: "@", find_urls: "."}
#: Number of digits → detectors worth asking, each with the bits and the sign that it needs.
_BY_DIGITS = tuple(
    tuple(
        (detector, (_NEEDED if digits else _NEEDED_WITHOUT_DIGITS).get(detector, 0), _SIGNS.get(detector, ""))
        for detector in _ALL
        if _LEAST_DIGITS.get(detector, 0) <= digits
    )
    for digits in range(_MOST_ASKED + 1)
)
