"""Detectors of persons by what introduces them: titles, greetings, closings, labels.

Place on the road: parts of ``inspection.names``, for texts that no model of language reads. A title, an introduction, a
greeting, a label, the line under a closing: behind each stands a name, if it is capitalised. Not caught, and left to
``inspection.recognizer``: a name without any of these, in running prose.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.letters import CAPITALISED, UPPER
from tuneward.inspection.sketch import Sketch, sketch, vocabulary

_PARTICLE: Final = "van|von|der|den|de|del|della|di|da|dos|do|du|la|le|el|al|bin|ibn|ben|ten|ter|zu|y|st\\.?|af|av"
_INITIAL: Final = rf"[{UPPER}]\.?(?![\w])"
NAME: Final = rf"{CAPITALISED}(?: (?:{_INITIAL}|{CAPITALISED}|(?:{_PARTICLE}) (?:(?:{_PARTICLE}) )?{CAPITALISED})){{0,3}}+"
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
        if name is None or names_no_person(name[0]):
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
NOT_NAMES: Final = frozenset(
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
    if name and not names_no_person(name[0]):
        yield Finding("person", name.start(), _name_end(seen.text, name), confidence, f"person.{rule}")


def names_no_person(name: str) -> bool:
    first = re.split(r"[ '’]", name, maxsplit=1)[0].lower()
    return first in NOT_NAMES or len(name) < 2


def _name_end(text: str, name: re.Match[str]) -> int:
    """The end of a name without the mark of the genitive."""
    end = name.end()
    return end - 2 if text[end - 2 : end] in {"'s", "’s"} else end
