"""Detector of postcodes that stand alone (kind ``postcode``): by their form, or by what stands beside plain digits.

Place on the road: an entry of ``inspection.detectors.DETECTORS``. Some countries' codes have a form that hardly
anything else has (Britain, Canada, Brazil, American codes of nine digits, codes behind a country's sign); the Dutch,
Polish and Portuguese are told from measures and ranges; plain digits count behind an American state, and where
something is said to be *in* or *near* them, or in a town beside them, as nothing is in a number. Codes inside of
addresses, beside known places and behind their label are found elsewhere. Not caught: plain digits in a list or alone,
four digits that may be a year.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.dates import DAYS_AND_MONTHS
from tuneward.inspection.letters import CAPITALISED
from tuneward.inspection.sketch import sketch, words

_UK_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:GIR ?0AA|[A-PR-UWYZ](?:[0-9]{1,2}|[A-HK-Y][0-9]{1,2}|[0-9][A-HJKPSTUW]"
    r"|[A-HK-Y][0-9][ABEHMNPRV-Y]) "
    r"[0-9][ABD-HJLNP-UW-Z]{2})$"
)
_UK_INWARD = re.compile(r"[0-9](?<=[A-Z0-9] [0-9])[ABD-HJLNP-UW-Z]{2}(?![A-Za-z0-9])")
#: Canada Post's letters: no D, F, I, O, Q, U; neither W nor Z in the first place.
_CANADIAN = re.compile(
    r"[0-9](?<![A-Za-z0-9].[0-9])(?<=[ABCEGHJ-NPRSTVXY][0-9])[ABCEGHJ-NPRSTV-Z][ \-]?"
    r"[0-9][ABCEGHJ-NPRSTV-Z][0-9](?![A-Za-z0-9])"
)
_STATES: Final = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_STATE_BEFORE = re.compile(rf"(?<![A-Za-z0-9])(?:{_STATES}),? $")
_NUMBER = re.compile(r"[0-9][0-9]*+")
_NOT_BEFORE: Final = frozenset("_.,-/+$€£#:*=")
#: A hyphen within: ZIP+4 and Brazil's five and three; Portugal's four and three and Poland's two and three need more.
_HYPHENATED = re.compile(r"[0-9]{2,5}-(?:[0-9]{4}|[0-9]{3})(?![\w\-/%]|[.,][0-9])")
_SPACED = re.compile(r"(?:[0-9]{3} [0-9]{2}|[0-9]{4} [A-Z]{2})(?![\w\-/%]|[.,][0-9]| [0-9])")
_GOES_ON = re.compile(r"[\w\-/%$€£*=+°]|[.,:][0-9]")
_SIGN_BEFORE = re.compile(r"(?<![\w\-])[A-Z]{1,3}-$")
_SIGNED = re.compile(
    rf"(?<![\w\-])(?:(?:CH|NL|DK|SE|FI|FIN|LT|LV|SI|HR|CZ|SK|PL|RO|GR|EE|LU|BE|FR|DE|AT|IT|ES|PT|HU|NO)-"
    rf"[0-9]{{4,5}}(?! ?[a-z])|[DAFIBLHSNE]-[0-9]{{4,5}}(?= {CAPITALISED}))(?![\w\-])"
)
#: What stands behind four digits and two capitals and is no Dutch code.
_NOT_DUTCH: Final = frozenset(words("AD BC CE AM PM KG KM MB GB TB HZ MM CM ML MG US UK EU SA SD SS ID TV PC HP RE OR"))
_IN: Final = re.compile(
    r"(?:^|[^\w])(?:in|near|nearby|around|outside(?: of)?|within|close to|next to|not far from|of|à|en|aus|nahe|bei"
    r"|vicino a|cerca de|près de)"
    r"(?: the)?(?: area| region| district| neighbou?rhood)?(?: of)? $",
    re.IGNORECASE,
)
_TO: Final = re.compile(
    r"\b(?:live[sd]?|living|move[sd]?|moving|ship(?:s|ped|ping)?|deliver(?:s|ed|y|ing|ies)?|mail(?:ed|ing)?"
    r"|travel(?:l?ing|l?ed)?|driv(?:e|ing)|going|went|fly|flying|flights?|relocat(?:e|ed|ing)|weather|forecast"
    r"|temperature|located|based|stores?|restaurants?|branch(?:es)?|hotels?|directions?|distance|way|home|here|address"
    r"|package|parcel|letter|taxi|cab|ride|trip|office) (?:to|from|at|for|in) $",
    re.IGNORECASE,
)
#: What short codes for messages and the last digits of cards stand behind.
_NO_PLACE = re.compile(r"\b(?:te?xt|sms|mms|msg|message|reply|call|dial|ending|ends|ended)\b", re.IGNORECASE)
_TOWN: Final = rf"{CAPITALISED}(?:[ \-]{CAPITALISED}){{0,2}}"
_IN_TOWN = re.compile(rf"\b(?:in|near|from|to|at|of|around|aus|nach|à|a|en|bei) {_TOWN},? $")
_BEFORE_TOWN = re.compile(rf" (?P<town>{_TOWN})(?=[.,;:!?)\n]|$| (?:and|or|is|was|to|for|in|near|und|et|e|y)\b)")
_ENDS = re.compile(
    r"[ \t]*(?:[.,;:!?)\"'\n]|$)| (?:and|or|area|right|please|today|tomorrow|tonight|now|this|for|at|with|to|is|are)\b"
)


def find_postcodes(text: str) -> Iterator[Finding]:
    """Find postcodes that stand alone. Around each number a bounded stretch is read, so that the time stays linear."""
    if sketch(text).digits < 2:
        return
    for number in _NUMBER.finditer(text):
        start, end = number.span()
        size = end - start
        if size == 1:
            if text[end : end + 1].isupper():
                yield from _with_letters(text, start, end)
        elif size <= 5:
            before = text[start - 1 : start] if start else ""
            if before == "-" and size >= 4 and (sign := _SIGN_BEFORE.search(text, max(0, start - 4), start)):
                signed = _SIGNED.match(text, sign.start())
                if signed:
                    yield _postcode(signed.start(), signed.end(), 0.7, "signed")
            elif before not in _NOT_BEFORE and not before.isalnum():
                yield from _plain(text, start, end)


def _with_letters(text: str, start: int, end: int) -> Iterator[Finding]:
    """A digit before a capital: the second half of a British code or the first of a Canadian one."""
    if _UK_INWARD.match(text, start):
        found = _UK_CODE.search(text, max(0, start - 5), end + 2)
        if found:
            yield _postcode(found.start(), found.end(), 0.8, "gb")
    elif canadian := _CANADIAN.match(text, start):
        yield _postcode(start - 1, canadian.end(), 0.75, "ca")


def _plain(text: str, start: int, end: int) -> Iterator[Finding]:
    """Two to five digits, perhaps with a hyphen or a blank and what belongs to them."""
    size, behind = end - start, text[end : end + 1]
    if behind == "-" and (found := _HYPHENATED.match(text, start)):
        yield from _hyphenated(text, found)
    elif behind == " " and 3 <= size <= 4 and (found := _SPACED.match(text, start)):
        dutch = size == 4
        if dutch and (found[0][-2:] in _NOT_DUTCH or found[0][0] == "0"):
            return
        if _is_somewhere(text, start, found.end(), size=5) or (dutch and _BEFORE_TOWN.match(text, found.end())):
            yield _postcode(start, found.end(), 0.55, "nl" if dutch else "spaced")
    elif size >= 4 and not _GOES_ON.match(text, end):
        if size == 5 and _STATE_BEFORE.search(text, max(0, start - 4), start):
            yield _postcode(start, end, 0.8, "us")
        elif _is_somewhere(text, start, end, size=size):
            yield _postcode(start, end, 0.5, "somewhere")


def _hyphenated(text: str, found: re.Match[str]) -> Iterator[Finding]:
    start, end = found.span()
    first, _, second = found[0].partition("-")
    if len(first) == 5:
        state = _STATE_BEFORE.search(text, max(0, start - 4), start)
        yield _postcode(start, end, 0.8 if state else 0.65, "us" if len(second) == 4 else "br")
    elif (len(first), len(second)) in {(4, 3), (2, 3)} and _is_somewhere(text, start, end, size=5):
        yield _postcode(start, end, 0.55, "pt" if len(first) == 4 else "pl")


def _is_somewhere(text: str, start: int, end: int, *, size: int) -> bool:
    """Whether the words around say that something is in, near or on its way to the number, or in a town beside it.

    Four digits that may be a year (1000 to 2199), and round thousands, are taken for none.
    """
    number = text[start:end]
    if (size == 4 and "1000" <= number < "2200") or number.endswith("000"):
        return False
    before = max(0, start - 40)
    if _NO_PLACE.search(text, before, start):
        return False
    if _IN_TOWN.search(text, before, start):
        return bool(_ENDS.match(text, end))
    place = _IN.search(text, before, start)
    if (place or _TO.search(text, before, start)) and _ENDS.match(text, end):
        return place is not None or size == 5
    town = _BEFORE_TOWN.match(text, end) if place and size >= 4 else None
    return town is not None and town["town"].lower() not in DAYS_AND_MONTHS


def _postcode(start: int, end: int, confidence: float, rule: str) -> Finding:
    return Finding(kind="postcode", start=start, end=end, confidence=confidence, rule=f"postcode.{rule}")
