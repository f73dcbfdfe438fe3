"""Detector of organisations by their legal form or kind of house, and behind words of employment.

Place on the road: a part of ``inspection.names``. Not caught, and left to ``inspection.recognizer``: an organisation
that neither its form nor its surroundings call one.
"""

import re
from collections.abc import Iterator

from tuneward.domain.finding import Finding
from tuneward.inspection.introductions import names_no_person
from tuneward.inspection.letters import CAPITALISED
from tuneward.inspection.sketch import sketch, vocabulary

_FORMS = vocabulary(
    "inc llc ltd corp corporation incorporated limited plc gmbh ag kg ohg spa srl sarl sas sa sl slu bv nv oy ab aps llp "
    "company bank university universität università université universidad foundation institute insurance holdings group "
    "partners associates".split()
)
_ORGANISATION = re.compile(
    rf"(?P<name>(?:{CAPITALISED}|[0-9]{{1,4}})(?:(?:,? (?:and|&|und|et|y|e) |, | )(?:{CAPITALISED}|of|for|de|der|di)){{0,4}}?),? "
    r"(?P<form>Inc|LLC|Ltd|Corp|Corporation|Incorporated|Limited|PLC|plc|GmbH(?: & Co\. KG)?|AG|KG|OHG|S\.p\.A|SpA|S\.r\.l|Srl|"
    r"SARL|SAS|S\.A|S\.L|B\.V|N\.V|Oy|AB|ApS|LLP|Company|Bank|University|Foundation|Institute|Insurance|Holdings|Group|"
    r"Partners|Associates)\b\.?"
)
_EMPLOYED = re.compile(
    r"(?i:\b(?:works?|worked|working|employed|interned|job|position|career) (?:for|at|by|with)|\bjoined|arbeite[t]? (?:bei|für)|"
    rf"lavor[ao] (?:per|presso)|travaille (?:pour|chez)|trabaj[ao] (?:para|en))(?i: the)? (?P<name>{CAPITALISED}"
    rf"(?:(?:,? (?:and|&) |, | )(?:{CAPITALISED}|of)){{0,4}}+)"
)
_EMPLOYED_WORDS = vocabulary(
    "work works worked working employed interned job position career joined arbeite arbeitet lavoro lavora travaille "
    "trabajo trabaja".split()
)


def find_organisations(text: str) -> Iterator[Finding]:
    """Find organisations by their legal form or kind of house, and behind words of employment."""
    seen = sketch(text)
    if seen.holds(_FORMS):
        for found in _ORGANISATION.finditer(text):
            if not names_no_person(found["name"]):
                yield Finding("organisation", found.start(), found.end("form"), 0.85, "organisation.form")
    if seen.holds(_EMPLOYED_WORDS):
        for found in _EMPLOYED.finditer(text):
            if not names_no_person(found["name"]):
                yield Finding("organisation", *found.span("name"), 0.6, "organisation.employer")
