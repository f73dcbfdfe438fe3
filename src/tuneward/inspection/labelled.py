"""Detector of numbers that only their label tells apart: passport, driving licence, plate, medical, insurance.

Place on the road: entries of ``inspection.detectors.DETECTORS``, all served by one pass. A label in English, German,
Italian, French or Spanish, at most a few linking words (``number is:``), and a value with digits in it. Not caught:
such numbers without their label, values without a digit, values before their label.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tuneward.domain.finding import Finding
from tuneward.inspection.sketch import Vocabulary, sketch, vocabulary

_LINK: Final = (
    r"(?:[ \t]{0,2}(?:number|num|no|nr|n°|nº|numero|número|numéro|nummer|id|code|is|was|are|ist|lautet|war|è|est|es|of|"
    r"plate|card|the|my|his|her|state|kennzeichen|karte|has|reads|:|#|=|\.|-|\"|'|\()){0,6}+[ \t]{0,2}(?:\n[ \t]{0,4})?"
)
_VALUE: Final = r"(?P<value>(?=[A-Za-z \-/.]{0,8}[0-9])[A-Z0-9](?:[A-Z0-9]|[\-/. ](?=[A-Z0-9])){3,20})(?![A-Za-z0-9])"
_PLATE: Final = (
    r"(?P<value>(?=[0-9 \-]{0,8}[A-ZÄÖÜ])[A-ZÄÖÜ0-9]{1,4}(?:[ \-·]?[A-Z0-9]{1,4}){1,3})(?<=[A-Z0-9]{2})(?![A-Za-z0-9])"
)


_BEFORE: Final = 24
_AFTER: Final = 100


class _Label(NamedTuple):
    """What is looked for: ``pattern`` joins label, link and value; ``digits`` is the least number of digits in it."""

    kind: str
    rule: str
    trigger: Vocabulary
    pattern: re.Pattern[str]
    digits: int


def _label(
    kind: str, rule: str, triggers: str, labels: str, *, value: str = _VALUE, link: str = "", digits: int = 4
) -> _Label:
    pattern = re.compile(rf"(?<![\w])(?i:{labels}){link or _LINK_TAIL}{value}")
    return _Label(kind, f"{kind}.{rule}", vocabulary(triggers.split()), pattern, digits)


_LINK_TAIL: Final = rf"(?i:{_LINK})"
_LABELS: Final = (
    _label(
        "passport",
        "labelled",
        "passport reisepass reisepassnummer passnummer passaporto passeport pasaporte",
        r"passport|reisepass(?:nummer)?|passnummer|passaporto|passeport|pasaporte",
    ),
    _label(
        "driving_licence",
        "labelled",
        "license licence licenses licences dl führerschein führerscheinnummer patente permis permiso carnet",
        r"(?:driv(?:er|ers|er'?s|er’s|ing)[ \-]?licen[cs]e|\bDL|führerschein(?:nummer)?|patente(?: di guida)?|"
        r"permis de conduire|permiso de conducir|carnet de conducir|licencia de conducir)",
    ),
    _label(
        "licence_plate",
        "labelled",
        "plate plates registration reg license licence kennzeichen nummernschild targa targata immatriculation "
        "immatriculée immatriculé plaque matrícula",
        r"(?:licen[cs]e plates?|number plates?|plates?|(?:vehicle |car )?registration(?: number| plate)"
        r"|reg\.? (?:no|number)|"
        r"(?:amtliches )?kennzeichen|nummernschild|targat[ao]|targa|plaque(?: d'immatriculation)?"
        r"|immatricul(?:ation|ée?)|"
        r"matrícula)",
        value=_PLATE,
        digits=1,
    ),
    _label(
        "medical_id",
        "labelled",
        "mrn medical patient patienten patientennummer patientenakte fallnummer cartella dossier historia "
        "nhs npi chart",
        r"(?:mrn|(?:medical|patient|hospital|health) (?:record|chart|file)|medical (?:id|number)"
        r"|patient(?:en)?(?:[ \-]?"
        r"(?:id|number|no|nr|nummer|akte))|fallnummer|chart (?:number|no)|cartella clinica|numero paziente"
        r"|dossier médical|"
        r"numéro de patient|historia clínica|número de paciente)",
    ),
    _label(
        "insurance_id",
        "labelled",
        "insurance policy member subscriber medicare medicaid beneficiary versichertennummer krankenversichertennummer "
        "krankenversicherungsnummer versicherungsnummer tessera sanitaria mutuelle assuré afiliación seguro",
        r"(?:(?:health )?insurance (?:id|number|no|policy|member|card)|member(?:ship)? (?:id|number|no)"
        r"|subscriber (?:id|"
        r"number|no)|medicare(?: number| id)?|medicaid(?: number| id)?|(?:kranken)?versicherten(?:nummer|nr)|"
        r"krankenversicherungsnummer|tessera sanitaria|numéro (?:de mutuelle|d'assuré)|número de (?:afiliación|póliza)|"
        r"seguro médico)",
    ),
    _label(
        "national_id",
        "labelled",
        "id identity identification personalausweis personalausweisnummer ausweisnummer identità identité identidad",
        r"(?:national id(?:entity|entification)?(?: card)?|identity card|personalausweis(?:nummer)?|ausweisnummer|"
        r"carta d'identità|carte (?:nationale )?d'identité|documento (?:nacional )?de identidad|cédula de identidad)",
    ),
    _label(
        "postcode",
        "labelled",
        "zip zipcode postcode postal plz postleitzahl cap cp código codice code",
        r"(?:zip(?:[ \-]?code)?|post(?:al)?[ \-]?code|plz|postleitzahl|\bCAP|codice postale|code postal"
        r"|código postal|\bC\.?P\.?)",
        link=r"[^\w\n]{0,4}(?:[^\d\n.;]{0,40}[ :#\"'(\n])?",
        value=r"(?P<value>"
        r"(?=[A-Za-z]{0,3}[ \-]?[0-9])[A-Za-z0-9]{2,6}"
        r"(?:[ \-](?=[A-Za-z0-9]{0,3}[0-9A-Z])[A-Z0-9]{2,4})?)(?![A-Za-z0-9])",
        digits=2,
    ),
)


_POSTCODE: Final = _LABELS[-1]
_BEFORE_LABEL = re.compile(
    r"(?<![\w.,\-])(?P<value>[0-9]{4,5}(?:-[0-9]{4})?)[\"')]{0,2} (?:is|was|ist|è|est|es)(?: (?:my|the|our"
    r"|your|his|her|their|meine|die|il|le|mi|el))? $",
    re.IGNORECASE,
)


def find_labelled(text: str) -> Iterator[Finding]:
    """Find values behind their labels; each finding is of the label's kind."""
    seen = sketch(text)
    if not seen.digits or not seen.words:
        return
    for label in _LABELS:
        if not seen.holds(label.trigger):
            continue
        covered = 0
        for start, end, _ in seen.places(label.trigger):
            found = label.pattern.search(text, max(0, start - _BEFORE), end + _AFTER)
            if found is None or sum(c.isdigit() for c in found["value"]) < label.digits:
                continue
            if found.end() != covered:
                yield Finding(label.kind, *found.span("value"), confidence=0.85, rule=label.rule)
            covered = found.end()
    if seen.holds(_POSTCODE.trigger):
        for start, _, word in seen.places(_POSTCODE.trigger):
            value = _BEFORE_LABEL.search(text, max(0, start - 32), start) if word not in {"code", "cap", "cp"} else None
            if value:
                yield Finding("postcode", *value.span("value"), confidence=0.75, rule="postcode.before_label")
