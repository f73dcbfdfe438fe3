"""Detector of postal addresses (kind ``address``).

Place on the road: an entry of ``inspection.detectors.DETECTORS``. Forms of the United States, the United Kingdom,
Germany, Italy, France and Spain, and of neighbours that write alike: a street's word or ending beside names and a
number, a post box, an army post office, a flat or suite. What goes on behind a comma or on the next lines (flat, town,
postcode, country) belongs to the address. Not caught: a house's name alone, a street without number and without a word
before it that says that somebody is there, addresses in other scripts than Latin and Greek.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.dates import DAYS_AND_MONTHS
from tuneward.inspection.letters import CAPITALISED, LOWER, UPPER
from tuneward.inspection.sketch import sketch, vocabulary, words

_AFTER_NAME: Final = frozenset(
    words(
        "street st str road rd avenue ave av lane ln drive dr boulevard blvd court ct place pl square sq terrace ter "
        "way close crescent cres parkway pkwy highway hwy circle cir trail grove gardens row mews hill walk parade "
        "quay alley loop turnpike utca u út útja straße strasse weg platz allee gasse ring ufer damm tee tie"
    )
)
_BEFORE_NAME: Final = frozenset(
    words(
        "via viale piazza piazzale piazzetta corso largo vicolo strada contrada lungomare rue avenue av boulevard "
        "place quai chemin allée impasse cours route passage calle c/ avenida avda paseo plaza camino ronda travesía "
        "carretera glorieta rua r rúa travessa praça estrada ul ulica aleja al trg plac"
    )
)
_ENDINGS: Final = (
    "straße", "strasse", "str", "gasse", "chaussee", "allee", "platz", "weg", "ufer", "damm", "steig", "vej", "vejen",
    "gade", "gata", "gatan", "vägen", "veien", "vegen", "straat", "laan", "kade", "katu", "kuja", "stræti",
)  # fmt: skip
_UNITS: Final = (
    r"suite|ste\.?|apt\.?|apartment|unit|flat|floor|room|rm\.?|building|bldg\.?|p\. ?o\. box|po box|box"
    r"|postfach|interno|"
    r"scala|appartement|appt\.?|bâtiment|bât\.?|étage|piso|puerta|planta|wohnung|whg\.?|stiege|#"
)
_UNIT: Final = rf"(?i:{_UNITS}) ?(?:n[°o.]? ?)?[A-Z]?[0-9]{{1,5}}[A-Za-z]?(?!\w)"
_PARTICLES: Final = (
    "de|del|della|delle|dei|di|du|des|la|le|las|los|el|dos|da|do|das|of|the|und|y|e|en|d'|van|von|der|den"
)
_ARTICLES: Final = frozenset(words("the der den en el la le las los und and y e"))
_SMALL: Final = "ul|rue|via|viale|calle|avenida|avenue|boulevard|place|rua|út|útja|utca|u|tee|trg|tér"
_WORD: Final = rf"(?:{CAPITALISED}|(?:{_PARTICLES}|{_SMALL})(?![\w])|[1-9][0-9]?(?:st|nd|rd|th)\b)\.?"
#: The same, particles, and the abbreviation of number, as the last word before a house's number.
_SMALL_BEFORE = re.compile(rf"(?:{_SMALL}|{_PARTICLES}|n[.°º]?(?= ))\b|n[.°º]")
_SMALL_WORD = re.compile(rf"(?:{_SMALL})\b")
_NAMES = re.compile(rf"(?:C/ ?)?{_WORD}(?:[ \-]{_WORD}){{0,5}}+")
_NAMES_BEHIND = re.compile(rf"(?<![\w'’.\-])(?:C/ ?)?{_WORD}(?:[ \-]{_WORD}){{0,5}}+(?:,? |, ?n[.°º]? ?)$")
_SECOND_NUMBER = re.compile(r"(?:[ \n]|, )[0-9]{1,5}[A-Za-z]?(?!\w)")
_HOUSE = re.compile(r",? (?:n[.°º]? ?)?[0-9]{1,5}(?:[ ]?[A-Za-z])?(?:[\-/][0-9]{1,4}[A-Za-z]?)?(?![\w%€$£]|[.,:][0-9])")
_CODE_BEHIND_COMMA = re.compile(r", [0-9]{4,5}$")
_NEXT_UNIT = re.compile(rf"[ ]?,?[ ]?(?:\n[ \t]*)?{_UNIT}")

#: Army and diplomatic post (USPS Publication 28, section 238).
_MILITARY = re.compile(
    r"(?:PSC|CMR|UNIT|USN[SV]|USS|USCGC|USAF|USMC) [^\n,]{1,40}(?:, BOX [0-9]{1,5})?[\s,]{1,3}(?:APO|FPO|DPO),? "
    r"A[AEP] (?P<code>[0-9]{5}(?:-[0-9]{4})?)",
    re.IGNORECASE,
)
_MILITARY_WORDS = vocabulary(("apo", "fpo", "dpo"))
_BOX = re.compile(
    r"(?:(?<![0-9])[0-9]{1,6} )?(?:p\.? ?o\.? ?box|post(?:al)? box|postfach|postbus|postbox|casella postale|"
    r"apartado(?: de correos)?|boîte postale) (?:n[°o.]? ?)?[0-9]{1,6}(?!\w)",
    re.IGNORECASE,
)
_BOX_WORDS = vocabulary(words("box postfach postbus postbox casella apartado boîte"))
#: A flat says that an address is there, also where small letters hide the street before it on the line.
_UNIT_ALONE = re.compile(
    r"(?:[0-9]{1,6}(?: [^\W\d_][\w'’.\-]{0,30}){1,5}?(?: [0-9]{1,5})? )?\b(?:suite|apt\.?|apartment) "
    r"#?[0-9]{1,4}[a-z]?\b",
    re.IGNORECASE,
)
_UNIT_WORDS = vocabulary(("suite", "apt", "apartment"))
_CORNER = re.compile(
    r"(?:the corner of|ecke|angolo (?:tra|di)|à l'angle d[eu]|esquina de) (?P<first>[^\n.,;:!?]{2,40}\.?) "
    r"(?:and|und|e|et|y|con) (?P<second>[^\n.,;:!?]{2,50})",
    re.IGNORECASE,
)
_CORNER_WORDS = vocabulary(words("corner ecke angolo angle esquina"))
_TOWN: Final = (
    rf"{CAPITALISED}(?:[ \-](?:{CAPITALISED}|(?:{_PARTICLES}|les|sur|am|an|in|nad|na|u)(?!\w)|"
    rf"\([{UPPER}{LOWER} ]{{2,20}}\))){{0,4}}"
)
_CODE: Final = (
    r"(?:[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}|(?:[A-Z]{1,3}[ \-])?[0-9]{4,5}(?:-[0-9]{3,4})?(?: [A-Z]{2}(?!\w))?|"
    r"[0-9]{3} [0-9]{2})(?!\w)"
)
_YEAR = re.compile(r"1[0-9]{3}|2[01][0-9]{2}")
_BARE_CODE = re.compile(
    r"[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}|[0-9]{3} [0-9]{2}|[0-9]{4,5}(?:-[0-9]{3,4})?(?: [A-Z]{2}(?=$))?"
)
_BREAK: Final = r"(?:[,.]? ?\n[ \t]*(?:\n[ \t]*)?,?[ ]?|[,.] ?| )"
_GOES_ON = re.compile(
    rf"{_BREAK}(?:{_UNIT}|(?:{_TOWN},? )?(?P<code>{_CODE})(?: {_TOWN})?|{_TOWN}(?=,? ?\n|, {_TOWN}|[.,;!?]|$))"
)
#: What makes a name and a number an address. Digits right behind a number are the rest of it (``MV 626 9950``) unless
#: a town stands behind them.
_MOVED_ON = re.compile(
    rf"(?:[,.]? ?\n[ \t]*(?:\n[ \t]*)?,?[ ]?|[,.] ?)(?:{_UNIT}|(?:{_TOWN},? )?{_CODE})"
    rf"| (?:{_UNIT}|{_TOWN},? {_CODE}|(?=[A-Z]){_CODE}|{_CODE},? {_TOWN})"
)
_THERE = re.compile(
    r"(?:\baddress(?:es)?(?: is| to| with)?:?|\blive[sd]? (?:at|on|in)|\blocated (?:at|on)|\bmeet(?: me| you| us)? at|"
    r"\b(?:office|restaurant|shop|house|home|store|party)(?: is)? (?:at|on|in)|\b(?:return|deliver|ship"
    r"|send|sent|taxi|move|"
    r"moved|drive) (?:it )?to|\boff at|\bside of|\benter on|\bit is|\bit's in|wohn(?:t|e|haft) (?:in|am)"
    r"|adresse(?: ist)?:?|"
    r"anschrift:?|indirizzo:?|abit[ao] in|residente in|habite(?: au)?|direcci[oó]n:?|vivo en|vive en)\s{1,2}$",
    re.IGNORECASE,
)
_BEHIND: Final = 64


def find_addresses(text: str) -> Iterator[Finding]:
    """Find postal addresses. Around each number a bounded stretch is read, so that the time stays linear."""
    seen = sketch(text)
    if not seen.digits:
        return
    if seen.holds(_CORNER_WORDS):
        for found in _CORNER.finditer(text):
            if all(re.search(rf"[0-9{UPPER}]", found[side]) for side in ("first", "second")):
                yield _address(found.start(), found.end(), 0.7, "corner")
    if seen.holds(_MILITARY_WORDS):
        for found in _MILITARY.finditer(text):
            yield _address(found.start(), found.end(), 0.93, "military")
            yield Finding("postcode", *found.span("code"), 0.97, "postcode.military")
    if seen.holds(_BOX_WORDS):
        for found in _BOX.finditer(text):
            yield from _whole(text, *found.span(), 0.8, "box")
    if seen.holds(_UNIT_WORDS):
        for found in _UNIT_ALONE.finditer(text):
            yield from _whole(text, *found.span(), 0.5, "unit")
    reached = 0
    for number in _NUMBER.finditer(text):
        start, end = number.span()
        if start < reached:
            continue
        hit = None
        opener = text[end + 1 : end + 2]
        if (
            text[end : end + 1] in _BETWEEN
            and opener in _OPENERS
            and (not opener.islower() or _SMALL_WORD.match(text, end + 1))
        ):
            hit = _number_first(text, number)
        if hit is None and start and text[start - 1] in " ,°º":
            before = text.rfind(" ", max(0, start - 25), start - 1)
            first = text[before + 1]
            if (
                (first in _OPENERS and (not first.islower() or _SMALL_BEFORE.match(text, before + 1)))
                or text.find("\n", before + 1, start) >= 0
                or before < 0
            ):
                hit = _name_first(text, number)
        if hit:
            start, end, confidence, rule = hit
            for finding in _whole(text, start, end, confidence, rule):
                reached = max(reached, finding.end)
                yield finding


#: What may stand between a number and a name, and how a name, a street's word in small letters or a number begins.
_BETWEEN: Final = frozenset((" ", "\n", ","))
_OPENERS: Final = frozenset(
    [chr(code) for code in range(0x530) if chr(code).isupper()]
    + list(" \n0123456789°º(")
    + [w[0] for w in _SMALL.split("|")]
    + ["n"]
)
_NUMBER = re.compile(r"(?<![0-9])[0-9][0-9]{0,5}+(?:[A-Za-z](?!\w))?(?![0-9])")
_NOT_BEFORE: Final = frozenset("$€£#%:+*=-/.,_")

_Hit = tuple[int, int, float, str]


def _number_first(text: str, number: re.Match[str]) -> _Hit | None:
    """``221b Baker Street``, ``20 Rue Hsine Eloued``, ``28030 Edeby 55, Apt. 297``."""
    start, end = number.span()
    follows = text[end : end + 2]
    if not follows or follows[0] not in " \n," or (text[start - 1 : start] in _NOT_BEFORE and start):
        return None
    second = _SECOND_NUMBER.match(text, end)
    name_at = second.end() if second else end
    name_at += 2 if text.startswith(", ", name_at) else 1
    first = text[name_at : name_at + 1]
    if not first.isupper() and not (first.isalpha() and _SMALL_WORD.match(text, name_at)):
        return None
    names = _NAMES.match(text, name_at)
    if names is None or text[name_at - 1 : name_at] not in {" ", "\n"}:
        return None
    words = _words(names[0])
    if words[0] in DAYS_AND_MONTHS:
        return None
    house = _HOUSE.match(text, names.end())
    last = house.end() if house and not _CODE_BEHIND_COMMA.match(house[0]) else names.end()
    if _is_shouted(names[0], words):
        return None
    if (place := _street_word(words, _AFTER_NAME - _BEHIND_NAMES)) is not None and place > 0:
        return start, _end_of_word(names, place), 0.85, "number_first"
    if words[0] in _BEFORE_NAME and len(words) > 1:
        return start, last, 0.8, "number_first"
    if any(word.endswith(_ENDINGS) and len(word) > 6 for word in words) and (house or second):
        return start, last, 0.8, "ending"
    if _NEXT_UNIT.match(text, last):
        return start, last, 0.8, "unit"
    if (
        house
        and text[name_at - 1] == " "
        and len(max(words, key=len)) > 2  # `224 Js 192/25` is a court's file
        and _ENDS_THERE.match(text, last)
        and not _SENTENCE_WITHIN.search(names[0])
        and (second or number.end() - start >= 3)
        and not _COUNTING.match(text, last)
        and words[-1] not in _COUNTED
    ):
        return start, last, 0.55, "two_numbers"
    if second and _THERE.search(text, max(0, start - 32), start):
        return start, last, 0.5, "place_word"
    return None


def _name_first(text: str, number: re.Match[str]) -> _Hit | None:
    """``Goethestraße 12``, ``Via Roma 131``, ``C/ Mayor, 5``, and any name behind words such as *lives at*."""
    if text[number.start() - 1 : number.start()] not in {" ", ",", "°", "º"} or number.end() - number.start() > 5:
        return None
    if text[number.end() : number.end() + 1] in {"%", "€", "$", "£"}:
        return None
    names = _NAMES_BEHIND.search(text, max(0, number.start() - _BEHIND), number.start())
    if names is None:
        return None
    words = _words(names[0])
    if not DAYS_AND_MONTHS.isdisjoint(words) or _is_shouted(names[0], words) or _LETTER_WORD.search(names[0]):
        return None
    begin = _start_of_word(names, next((n for n, word in enumerate(words) if word not in _ARTICLES), 0))
    house = _HOUSE.match(text, number.start() - 1)
    end = house.end() if house and house.end() >= number.end() else number.end()
    for place, word in enumerate(words[:-1]):
        if word in _BEFORE_NAME and (word not in {"c/", "r", "al", "av", "place"} or place == 0):
            return _start_of_word(names, place), end, 0.85, "name_first"
    for word in words:
        if word.endswith(_ENDINGS) and len(word) > 6:
            return begin, end, 0.85, "ending"
    if len(words) > 1 and words[-1] in _AFTER_NAME and words[-1] not in {"st", "dr", "place", "court", "way"}:
        return begin, end, 0.75, "name_first"
    there = _THERE.search(text, max(0, names.start() - 32), names.start()) or _MOVED_ON.match(text, end)
    if not there or words[-1] in _COUNTED or not DAYS_AND_MONTHS.isdisjoint(_words(text[begin : end + 12])):
        return None  # `Date: Sat, 10 Feb 2024` above `From:`
    return begin, end, 0.5, "place_word"


#: What stands behind an address that no street's word calls one; and a sentence that ended before the second number.
_ENDS_THERE = re.compile(r"[,;\n]|[.!?)]?(?:\s|$)(?! ?[a-z])|\.?$")
_SENTENCE_WITHIN = re.compile(r"[^\W\d_]{3}\. ?")
#: What goes on behind a number that counts something: ``240 Asians, 80 were``.
_COUNTING = re.compile(r" (?:is|are|was|were|had|have|has|of|more|less|or|[a-z]{2,20}s)\b")
#: What is numbered and no street.
_COUNTED: Final = frozenset(
    words(
        "article section chapter page room gate level step version model figure table number no phase unit item "
        "question problem day week year grade class lesson part volume act title channel terminal platform apt suite "
        "box route kapitel abschnitt artikel seite zimmer stufe teil capitolo articolo pagina chapitre capítulo "
        "artículo página jahr jahre jahren entre zwischen between years siglo"
    )
)


#: Streets' words of languages that put the number behind them.
_BEHIND_NAMES: Final = frozenset(words("u utca út útja straße strasse weg platz allee gasse ring ufer damm tee tie"))
#: A letter that is a street's word with its point (``Kossuth u. 5``, ``R. Augusta 3``), and *you* or *are* without.
_LETTER_WORD = re.compile(r"(?:^R| [uU])(?= )")


def _is_shouted(names: str, words: list[str]) -> bool:
    """Whether capitals are a sentence's and not names' (``2 CATCH UP BUT WE AVE``)."""
    return names.isupper() and (len(words) > 3 or len(max(words, key=len)) < 3)


def _words(names: str) -> list[str]:
    return [word.strip(".,").lower() for word in re.split(r"[ \n]", names.strip(" ,")) if word.strip(".,")]


def _street_word(words: list[str], known: frozenset[str]) -> int | None:
    """The last of ``words`` that is one of ``known``."""
    return next((place for place in range(len(words) - 1, -1, -1) if words[place] in known), None)


def _end_of_word(names: re.Match[str], place: int) -> int:
    """End of a street's word in the text, with the point of its abbreviation."""
    return [found.end() for found in re.finditer(r"[^ ,\n]+", names[0])][place] + names.start()


def _start_of_word(names: re.Match[str], place: int) -> int:
    return [found.start() for found in re.finditer(r"[^ ,\n]+", names[0])][place] + names.start()


def _whole(text: str, start: int, end: int, confidence: float, rule: str) -> Iterator[Finding]:
    """The address with flat, town, postcode and country behind it, and the postcode, which is surer than the rest."""
    code = False
    for _ in range(6):
        found = _GOES_ON.match(text, end)
        if found is None:
            break
        end = found.end()
        if found["code"] and not code and not _YEAR.fullmatch(found["code"]):
            code = True
            yield Finding(
                "postcode",
                *_digits_of(text, *found.span("code")),
                min(0.95, round(confidence + 0.05, 2)),
                "postcode.in_address",
            )
    yield _address(start, end, confidence, rule)


def _digits_of(text: str, start: int, end: int) -> tuple[int, int]:
    """A code without the letters of a state or country behind or before it (``20500 US``)."""
    found = _BARE_CODE.search(text, start, end)
    return found.span() if found else (start, end)


def _address(start: int, end: int, confidence: float, rule: str) -> Finding:
    return Finding(kind="address", start=start, end=end, confidence=confidence, rule=f"address.{rule}")
