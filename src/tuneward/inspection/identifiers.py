"""Detector of national identifiers of persons in the EU, the United Kingdom and the United States.

Place on the road: one entry (``national_id``) of ``inspection.detectors.DETECTORS``. A form is a shape that a pattern
finds, a check that python-stdnum computes, and words. Where shape and check together are rare among other numbers, a
form stands alone; else one of its words must stand in the sixty characters before. The rule names the country and the
number: ``national_id.de.idnr``. Not caught: numbers of bodies other than persons (VAT, company registers), Italian
codes with letters in place of digits, and numbers of the countries where no check exists unless their word is there.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from stdnum.at import vnr as at_vnr
from stdnum.be import nn as be_nn
from stdnum.bg import egn as bg_egn
from stdnum.cz import rc as cz_rc
from stdnum.de import idnr as de_idnr
from stdnum.dk import cpr as dk_cpr
from stdnum.ee import ik as ee_ik
from stdnum.es import dni as es_dni
from stdnum.es import nie as es_nie
from stdnum.fi import hetu as fi_hetu
from stdnum.fr import nif as fr_nif
from stdnum.fr import nir as fr_nir
from stdnum.gb import nhs as gb_nhs
from stdnum.gb import utr as gb_utr
from stdnum.gr import amka as gr_amka
from stdnum.hr import oib as hr_oib
from stdnum.ie import pps as ie_pps
from stdnum.it import codicefiscale as it_codicefiscale
from stdnum.lt import asmens as lt_asmens
from stdnum.nl import bsn as nl_bsn
from stdnum.pl import pesel as pl_pesel
from stdnum.pt import cc as pt_cc
from stdnum.pt import nif as pt_nif
from stdnum.ro import cnp as ro_cnp
from stdnum.se import personnummer as se_personnummer
from stdnum.si import emso as si_emso
from stdnum.us import itin as us_itin
from stdnum.us import ssn as us_ssn

from tuneward.domain.finding import Finding
from tuneward.inspection.sketch import Vocabulary, sketch, vocabulary

_REACH: Final = 60
_END: Final = r"(?![A-Za-z0-9]|[\-/][0-9])"


class _Form(NamedTuple):
    """One country's number.

    Attributes:
        name: country and number.
        pattern: its shape; starts at a digit unless ``letters`` stand before.
        valid: its check; gets the number without separators.
        words: what must stand before, in lower case; each of one word must be in ``trigger``.
        alone: confidence without a word; 0 where a word is needed.
        trigger: the words as a vocabulary.
    """

    name: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    words: tuple[str, ...]
    alone: float
    trigger: Vocabulary


def _form(name: str, pattern: str, valid: Callable[[str], bool], words: str, *, alone: float = 0.0) -> _Form:
    phrases = tuple(word.strip() for word in words.split(","))
    trigger = vocabulary(re.split(r"[ .\-]", phrase)[0] for phrase in phrases)
    return _Form(name, re.compile(pattern + _END), valid, phrases, alone, trigger)


def _shape_only(number: str) -> bool:
    """Some numbers have no check digit: their shape and their word must do."""
    return len(set(number)) > 2


def _nino(number: str) -> bool:
    return number[:2] not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}


def _ssn_shape(number: str) -> bool:
    """A number that a word calls a social security number need not be one that was issued."""
    return not number.startswith(("000", "666")) and number[3:5] != "00" and number[5:] != "0000"


_FORMS: Final = (
    _form(
        "us.ssn",
        r"[0-9](?<![\w\-.][0-9])[0-9]{2}(?P<sep>[ \-]?)[0-9]{2}(?P=sep)[0-9]{4}",
        _ssn_shape,
        "ssn, social security, social-security, socialsecurity, social insurance",
    ),
    _form("us.ssn", r"[0-9](?<![\w\-.][0-9])[0-9]{2}-[0-9]{2}-[0-9]{4}", us_ssn.is_valid, "ssn", alone=0.85),
    _form("us.itin", r"9(?<![\w\-.]9)[0-9]{2}-[0-9]{2}-[0-9]{4}", us_itin.is_valid, "itin, taxpayer", alone=0.8),
    _form(
        "gb.nino",
        r"[A-CEGHJ-PR-TW-Z](?<![\w\-][A-Z])[A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        _nino,
        "nino, national insurance, ni number",
        alone=0.8,
    ),
    _form("gb.nhs", r"[0-9](?<![\w\-.][0-9])[0-9]{2}[ \-]?[0-9]{3}[ \-]?[0-9]{4}", gb_nhs.is_valid, "nhs"),
    _form("gb.utr", r"[0-9](?<![\w\-.][0-9])[0-9]{4} ?[0-9]{5}", gb_utr.is_valid, "utr, unique taxpayer"),
    _form(
        "de.idnr",
        r"[0-9](?<![\w\-.][0-9])[0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        de_idnr.is_valid,
        "steuer-id, steuerid, steueridentifikationsnummer, steuerliche identifikationsnummer, identifikationsnummer, "
        "idnr, tin, steuernummer, tax id",
    ),
    _form(
        "de.rvnr",
        r"[0-9](?<![\w\-.][0-9])[0-9] ?[0-3][0-9][01][0-9]{3} ?[A-Z] ?[0-9]{3}",
        _shape_only,
        "sozialversicherungsnummer, rentenversicherungsnummer, versicherungsnummer, sv-nummer, rvnr, svnr",
    ),
    _form(
        "it.codice_fiscale",
        r"[A-Za-z](?<![\w\-][A-Za-z])[A-Za-z]{5}[0-9]{2}[A-EHLMPRSTa-ehlmprst][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]",
        it_codicefiscale.is_valid,
        "codice fiscale, cf",
        alone=0.95,
    ),
    _form(
        "fr.nir",
        r"[12](?<![\w\-.][12])[ .]?[0-9]{2}[ .]?[0-9]{2}[ .]?[0-9][0-9AB][ .]?[0-9]{3}[ .]?[0-9]{3}[ .\-]?[0-9]{2}",
        fr_nir.is_valid,
        "sécurité sociale, nir, insee",
        alone=0.9,
    ),
    _form(
        "fr.nif",
        r"[0-3](?<![\w\-.][0-3])[0-9][ ]?[0-9]{2} ?[0-9]{3} ?[0-9]{3} "
        r"?[0-9]{3}",
        fr_nif.is_valid,
        "fiscal, spi",
    ),
    _form("es.dni", r"[0-9](?<![\w\-.][0-9])[0-9]{7}[ \-]?[A-HJ-NP-TV-Z]", es_dni.is_valid, "dni, nif", alone=0.85),
    _form("es.nie", r"[XYZ](?<![\w\-][XYZ])[ \-]?[0-9]{7}[ \-]?[A-HJ-NP-TV-Z]", es_nie.is_valid, "nie", alone=0.9),
    _form(
        "nl.bsn",
        r"[0-9](?<![\w\-.][0-9])[0-9]{3}[. ]?[0-9]{2}[. "
        r"]?[0-9]{3}",
        nl_bsn.is_valid,
        "bsn, burgerservicenummer, sofinummer",
    ),
    _form(
        "be.nn",
        r"[0-9](?<![\w\-.][0-9])[0-9]\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}",
        be_nn.is_valid,
        "rijksregisternummer",
        alone=0.9,
    ),
    _form(
        "be.nn",
        r"[0-9](?<![\w\-.][0-9])[0-9]{5} ?[0-9]{3} ?[0-9]{2}",
        be_nn.is_valid,
        "rijksregisternummer, registre national, numéro national, nationaal nummer",
    ),
    _form("pl.pesel", r"[0-9](?<![\w\-.][0-9])[0-9]{10}", pl_pesel.is_valid, "pesel"),
    _form("pt.nif", r"[1-9](?<![\w\-.][1-9])[0-9]{2} ?[0-9]{3} ?[0-9]{3}", pt_nif.is_valid, "nif, contribuinte"),
    _form(
        "pt.cc",
        r"[0-9](?<![\w\-.][0-9])[0-9]{7}[ \-]?[0-9] "
        r"?[A-Z0-9]{2}[0-9]",
        pt_cc.is_valid,
        "cartão de cidadão, cc",
    ),
    _form(
        "at.vnr",
        r"[1-9](?<![\w\-.][1-9])[0-9]{3} ?[0-9]{6}",
        at_vnr.is_valid,
        "sozialversicherungsnummer, versicherungsnummer, svnr, sv-nummer",
    ),
    _form(
        "ie.pps", r"[0-9](?<![\w\-.][0-9])[0-9]{6}[A-W][ABWTXZ]?", ie_pps.is_valid, "pps, ppsn, personal public service"
    ),
    _form(
        "se.personnummer",
        r"(?:19"
        r"|20)"
        r"(?<![\w\-.][12][09])[0-9]{6}-[0-9]{4}",
        se_personnummer.is_valid,
        "personnummer",
        alone=0.85,
    ),
    _form(
        "se.personnummer",
        r"[0-9](?<![\w\-.][0-9])[0-9]{5}[\-+][0-9]{4}",
        se_personnummer.is_valid,
        "personnummer, samordningsnummer",
    ),
    _form("dk.cpr", r"[0-3](?<![\w\-.][0-3])[0-9]{5}-?[0-9]{4}", dk_cpr.is_valid, "cpr, personnummer"),
    _form(
        "fi.hetu",
        r"[0-3]"
        r"(?<![\w\-.][0-3])[0-9]{5}[\-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]",
        fi_hetu.is_valid,
        "henkilötunnus, hetu",
        alone=0.9,
    ),
    _form("bg.egn", r"[0-9](?<![\w\-.][0-9])[0-9]{9}", bg_egn.is_valid, "егн, egn"),
    _form("cz.rc", r"[0-9](?<![\w\-.][0-9])[0-9]{5}/[0-9]{3,4}", cz_rc.is_valid, "rodné číslo, rč", alone=0.75),
    _form("ee.ik", r"[1-6](?<![\w\-.][1-6])[0-9]{10}", ee_ik.is_valid, "isikukood"),
    _form("lt.asmens", r"[3-6](?<![\w\-.][3-6])[0-9]{10}", lt_asmens.is_valid, "asmens kodas"),
    _form("lv.pk", r"[0-3](?<![\w\-.][0-3])[0-9]{5}-[0-9]{5}", _shape_only, "personas kods"),
    _form("ro.cnp", r"[1-9](?<![\w\-.][1-9])[0-9]{12}", ro_cnp.is_valid, "cnp, cod numeric personal"),
    _form("hr.oib", r"[0-9](?<![\w\-.][0-9])[0-9]{10}", hr_oib.is_valid, "oib"),
    _form("si.emso", r"[0-9](?<![\w\-.][0-9])[0-9]{12}", si_emso.is_valid, "emšo"),
    _form("gr.amka", r"[0-3](?<![\w\-.][0-3])[0-9]{10}", gr_amka.is_valid, "αμκα, amka"),
    _form("hu.taj", r"[0-9](?<![\w\-.][0-9])[0-9]{2}[ \-]?[0-9]{3}[ \-]?[0-9]{3}", _shape_only, "taj"),
    _form("lu.matricule", r"[12](?<![\w\-.][12])[09][0-9]{2} ?[0-9]{4} ?[0-9]{5}", _shape_only, "matricule"),
    _form("mt.id", r"[0-9](?<![\w\-.][0-9])[0-9]{2,6}[MGAPLHBZ]", _shape_only, "identity card, id card"),
    _form("cy.tic", r"[0-9](?<![\w\-.][0-9])[0-9]{7}[A-Z]", _shape_only, "tic"),
)
_ANY = vocabulary(word.decode() for form in _FORMS for word in form.trigger.words)
#: What every form that stands alone has in it.
_MAYBE = re.compile(
    r"[0-9](?:[0-9]{5}|[0-9]{2}-[0-9]{2}-[0-9]{4}|[0-9](?:[A-Za-z][0-9]{2}[A-Za-z][0-9]{3}| ?[0-9]{2} ?[0-9]{2} ?[A-D]|"
    r"\.[0-9]{2}\.[0-9]{2}-)|[ .][0-9]{2}[ .][0-9]{2}[ .][0-9])"
)
_NOT_IN_NUMBER = re.compile(r"[ .\-/]")


def find_national_ids(text: str) -> Iterator[Finding]:
    """Find numbers that a state gives to a person. At most one pass over the text for each form that may be there."""
    seen = sketch(text)
    if seen.digits < 6:
        return
    shaped = _MAYBE.search(text) is not None
    if not shaped and not seen.holds(_ANY):
        return
    for form in _FORMS:
        worded = seen.holds(form.trigger)
        if not worded and not (shaped and form.alone):
            continue
        for found in form.pattern.finditer(text):
            word = worded and _word_before(seen.lowered, found.start(), form.words)
            if not word and not form.alone:
                continue
            number = (
                found[0] if "/" in found[0] or form.name.startswith(("fi", "se")) else _NOT_IN_NUMBER.sub("", found[0])
            )
            if form.valid(number):
                confidence = max(form.alone, 0.95) if word else form.alone
                yield Finding("national_id", found.start(), found.end(), confidence, f"national_id.{form.name}")


def _word_before(lowered: str, start: int, words: tuple[str, ...]) -> bool:
    window = lowered[max(0, start - _REACH) : start]
    for word in words:
        place = window.rfind(word)
        if place >= 0 and not window[place - 1 : place].isalpha() and not window[place + len(word) :][:1].isalpha():
            return True
    return False
