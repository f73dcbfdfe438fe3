"""Detector of names by what stands around them: persons, their titles and posts, organisations, places.

Place on the road: entries of ``inspection.detectors.DETECTORS``, for texts that no model of language reads. A title, an
introduction, a greeting, a label, the line under a closing: behind each stands a name, if it is capitalised. Not
caught, and left to ``inspection.recognizer``: a name without any of these, in running prose.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.letters import CAPITALISED, UPPER
from tuneward.inspection.sketch import Sketch, sketch, vocabulary

_PARTICLE: Final = "van|von|der|den|de|del|della|di|da|dos|do|du|la|le|el|al|bin|ibn|ben|ten|ter|zu|y|st\\.?|af|av"
_INITIAL: Final = rf"[{UPPER}]\.?(?![\w])"
NAME: Final = rf"{CAPITALISED}(?: (?:{CAPITALISED}|{_INITIAL}|(?:{_PARTICLE}) (?:(?:{_PARTICLE}) )?{CAPITALISED})){{0,3}}+"
_NAME = re.compile(NAME)

_TITLES = vocabulary(
    "mr mrs ms miss mister dr doctor prof professor sir madam madame herr frau fräulein signor signora signore sig dott "
    "dottore dottoressa monsieur mademoiselle mme mlle señor señora señorita sr sra srta don doña rev reverend".split()
)
_ABBREVIATED: Final = frozenset("mr mrs ms dr prof sig dott mme mlle sr sra srta rev".split())
_TITLE_ONLY: Final = frozenset("sir madam madame doctor monsieur señor señora don".split())


def find_titled(text: str) -> Iterator[Finding]:
    """Find titles before a name (kind ``title``), and the name behind them (kind ``person``)."""
    seen = sketch(text)
    for start, end, word in seen.places(_TITLES) if seen.holds(_TITLES) else ():
        at = end + 1 if text[end : end + 1] == "." and word in _ABBREVIATED else end
        while _MORE_TITLE.match(text, at):
            at = _MORE_TITLE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] != " " or not (text[start].isupper() or word in _ABBREVIATED):
            continue
        name = _NAME.match(text, at + 1)
        if name is None or _names_no_person(name[0]):
            continue
        yield Finding("title", start, end, confidence=0.8, rule="title.before_name")
        yield Finding("person", name.start(), _name_end(text, name), confidence=0.85, rule="person.titled")


_MORE_TITLE = re.compile(r" (?:Dr|Prof|med|phil|rer|nat|jur|Ing|habil)\.")

_INTRODUCTIONS: Final = (
    r"my name is|name is|i am called|call me|this is|i'm|i am|named him|named her|named|under the name|signed by|"
    r"ich heiße|mein name ist|ich bin|mi chiamo|il mio nome è|sono|je m'appelle|mon nom est|je suis|me llamo|mi nombre es|"
    r"soy|dear|hi|hello|hey|liebe|lieber|hallo|sehr geehrte|sehr geehrter|gentile|caro|cara|ciao|cher|chère|bonjour|"
    r"estimado|estimada|querido|querida|hola|speak (?:to|with)|talk to|regards,?|sincerely,?|grüßen,?|saluti,?|"
    r"cordialement,?|saludos,?|atentamente,?|thanks,|thank you,|cheers,|yours,|best,|love,"
)
_INTRODUCTION_WORDS = vocabulary(
    "name i call this named signed heiße bin chiamo sono appelle suis llamo nombre soy dear hi hello hey liebe lieber "
    "hallo geehrte geehrter gentile caro cara ciao cher chère bonjour estimado estimada querido querida hola speak talk "
    "regards sincerely grüßen saluti cordialement saludos atentamente thanks thank cheers yours best love nom".split()
)
_INTRODUCED = re.compile(rf"(?<![\w])(?i:{_INTRODUCTIONS})[ \n]{{1,2}}(?P<name>{NAME})")
_WEAK: Final = ("this is", "i'm", "i am", "ich bin", "sono", "je suis", "soy", "hi", "hello", "hey", "named")
_LABELLED = re.compile(
    r"(?i:(?<![\w])(?:(?:first|last|full|maiden|family|given|middle|legal|patient|customer|client|employee|contact)[ _]name|"
    r"name|surname|vorname|nachname|familienname|nome(?: e cognome)?|cognome|nom(?: de famille)?|prénom|nombre(?: completo)?|"
    rf"apellidos?|patient|attn|contact|from|to))[\"']?(?:[ \t]*:[ \t]*|[ ](?:is|ist|è|est|es)[ ])[\"']?(?P<name>{NAME})"
)
_LABEL_WORDS = vocabulary(
    "name surname vorname nachname familienname nome cognome nom prénom nombre apellido apellidos patient attn contact".split()
)
#: What is capitalised behind an introduction and no name.
_NO_NAMES: Final = frozenset(
    "the this that these those there here it its what why how when where who which a an and or but if so not no yes i i'm "
    "you he she we they my your his her our their all every everyone everybody anyone team sir madam customer client "
    "friend friends mom dad mum mother father doctor nurse bot user assistant support manager please thanks thank "
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september "
    "october november december god lord jesus ok okay well just sorry glad happy in at on for from to of with as by do "
    "damen herren is are was were can could would will shall should may might must address phone email date age id mr "
    "mrs ms dr miss unknown n/a none everything nothing something american english french german italian spanish".split()
)


def find_introduced(text: str) -> Iterator[Finding]:
    """Find persons behind an introduction, a greeting, a closing or a label."""
    seen = sketch(text)
    if seen.holds(_INTRODUCTION_WORDS):
        for found in _INTRODUCED.finditer(text):
            yield from _person(seen, found, 0.6 if found[0].lower().startswith(_WEAK) else 0.75, "introduced")
    if seen.holds(_LABEL_WORDS):
        for found in _LABELLED.finditer(text):
            yield from _person(seen, found, 0.75, "labelled")


def _person(seen: Sketch, found: re.Match[str], confidence: float, rule: str) -> Iterator[Finding]:
    name = re.compile(NAME).match(seen.text, found.start("name"))
    if name and not _names_no_person(name[0]):
        yield Finding("person", name.start(), _name_end(seen.text, name), confidence, f"person.{rule}")


def _names_no_person(name: str) -> bool:
    first = re.split(r"[ '’]", name, maxsplit=1)[0].lower()
    return first in _NO_NAMES or len(name) < 2


def _name_end(text: str, name: re.Match[str]) -> int:
    """The end of a name without the mark of the genitive."""
    end = name.end()
    return end - 2 if text[end - 2 : end] in {"'s", "’s"} else end


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
_FIRM = re.compile(rf"(?<![\w,] )(?P<name>{CAPITALISED}, {CAPITALISED},? (?:and|&|und|e|et|y) {CAPITALISED})(?= (?:is|has|was)\b|[\n.]|$)")


def find_organisations(text: str) -> Iterator[Finding]:
    """Find organisations by their legal form or kind of house, and behind words of employment."""
    seen = sketch(text)
    if seen.holds(_FORMS):
        for found in _ORGANISATION.finditer(text):
            if not _names_no_person(found["name"]):
                yield Finding("organisation", found.start(), found.end("form"), 0.85, "organisation.form")
    if seen.holds(_EMPLOYED_WORDS):
        for found in _EMPLOYED.finditer(text):
            if not _names_no_person(found["name"]):
                yield Finding("organisation", *found.span("name"), 0.6, "organisation.employer")
