"""Detector of organisations by their legal form or kind of house, and behind words of employment.

Place on the road: a part of ``inspection.names``. Not caught, and left to ``inspection.recognizer``: an organisation
that neither its form nor its surroundings call one.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.introductions import names_no_person
from tuneward.inspection.letters import CAPITALISED
from tuneward.inspection.sketch import any_of, sketch, vocabulary, words

_FORMS = vocabulary(
    words(
        "inc llc ltd corp corporation incorporated limited plc gmbh ag kg ohg spa srl sarl sas sa sl slu bv nv oy ab "
        "aps llp company bank university universität università université universidad foundation institute insurance "
        "holdings group partners associates"
    )
)
_FORM = re.compile(
    r"(?:Inc|LLC|Ltd|Corp|Corporation|Incorporated|Limited|PLC|plc|GmbH(?: & Co\. KG)?|AG|KG|OHG|S\.p\.A"
    r"|SpA|Srl|SARL|SAS|SA|SL|"
    r"BV|NV|Oy|AB|ApS|LLP|Company|Bank|University|Foundation|Institute|Insurance|Holdings|Group|Partners|Associates)\b\.?"
)
_NAME_BEFORE = re.compile(
    rf"(?<![\w'’\-])(?:{CAPITALISED}|[0-9]{{1,4}})(?:(?:,? (?:and|&|und|et|y|e) |, | )(?:{CAPITALISED}|of"
    rf"|for|de|der|di)){{0,4}}+,? $"
)
_LETTER = re.compile(r"[^\W\d_]")
_REACH: Final = 60
_EMPLOYED_BY = re.compile(
    r" ?(?:for|at|by|with|bei|für|per|presso|pour|chez|para|en)(?: the)? (?=[^\W\d_])|(?: the)? (?=[^\W\d_])",
    re.IGNORECASE,
)
_EMPLOYER = re.compile(rf"{CAPITALISED}(?:(?:,? (?:and|&) |, | )(?:{CAPITALISED}|of(?= {CAPITALISED}))){{0,4}}+")
_EMPLOYED_WORDS = vocabulary(
    words(
        "work works worked working employed interned job position career joined arbeite arbeitet lavoro lavora "
        "travaille trabajo trabaja"
    )
)
#: What only a house has: its name stands before.
_HAD_BY_HOUSES = vocabulary(
    words(
        "headquarters shareholders spokesperson spokesman spokeswoman ceo cfo cto employees stock shares office "
        "orchestra"
    )
)
#: Bits of the words without which there is no organisation.
HOUSED: Final = any_of(_FORMS, _EMPLOYED_WORDS, _HAD_BY_HOUSES)
_NO_HOUSES: Final = frozenset(
    words(
        "Common Preferred Company Former New Old Our Their Some Many Most All Main Head Home Private Public Federal "
        "State Senior Junior Full Current Post Box Oval White Corporate Local Regional Two Three Four Five Chamber "
        "Symphony Shipping House"
    )
)
_HOUSE_BEFORE = re.compile(
    rf"(?:^(?:The )?|(?<=[.!?] )(?:The )?|(?<=[Tt]he )|(?<=[a-z] ))(?P<name>{CAPITALISED}(?: {CAPITALISED}){{0,3}}+) $"
)


def find_organisations(text: str) -> Iterator[Finding]:
    """Find organisations. Around each of the words a bounded stretch is read, so that the time stays linear."""
    seen = sketch(text)
    if not seen.capitals:
        return
    if seen.holds(_FORMS):
        for start, _, _ in seen.places(_FORMS):
            form = _FORM.match(text, start)
            name = _NAME_BEFORE.search(text, max(0, start - _REACH), start) if form else None
            if form and name and _LETTER.search(name[0]) and not names_no_person(name[0]):
                yield Finding("organisation", name.start(), form.end(), 0.85, "organisation.form")
    if seen.holds(_EMPLOYED_WORDS):
        for _, end, word in seen.places(_EMPLOYED_WORDS):
            link = _EMPLOYED_BY.match(text, end)
            employer = _EMPLOYER.match(text, link.end()) if link and (word == "joined" or link[0].strip()) else None
            if employer and not names_no_person(employer[0]):
                yield Finding("organisation", *employer.span(), 0.6, "organisation.employer")
    if seen.holds(_HAD_BY_HOUSES):
        for start, _, _ in seen.places(_HAD_BY_HOUSES):
            if text[start].isupper() and text[start + 1].islower() and not text.startswith("Orchestra", start):
                continue  # `Office` is a part of a name
            house = _HOUSE_BEFORE.search(text, max(0, start - _REACH), start)
            called = house["name"] if house else ""
            if house and not names_no_person(called) and called.split()[-1] not in _NO_HOUSES and "'s" not in called:
                yield Finding("organisation", *house.span("name"), 0.55, "organisation.has")
