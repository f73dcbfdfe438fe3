"""Detectors of payment data with check digits: IBAN and card numbers.

Place on the road: two entries of ``inspection.detectors.DETECTORS``. A number is reported only if its length belongs
to its country or issuer and its check digits are right, so that policy and order numbers stay untouched.
"""

import re
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.boundaries import introduced_by
from tuneward.inspection.sketch import sketch

#: Country → length of its IBAN (SWIFT IBAN registry, release 99).
IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
#: Two check digits behind two letters, with or without a blank.
_DIGITS = re.compile(r"[0-9](?:(?<=[A-Za-z]{2}[0-9])|(?<=[A-Za-z]{2} [0-9]))[0-9]")
_SEPARATORS: Final = frozenset(" -\u00a0\u202f")


def find_ibans(text: str) -> Iterator[Finding]:
    """Find IBANs, in one piece or in groups, whose ISO 7064 MOD 97-10 check is right (ISO 13616-1).

    Starts from digits, which are rarer than letters, and looks at the two letters before them.
    """
    if sketch(text).digits < 10:
        return
    position = 0
    while found := _DIGITS.search(text, position):
        position = found.end()
        letters = found.start() - (1 if text[found.start() - 1 : found.start()] == " " else 0)
        start = letters - 2
        length = IBAN_LENGTHS.get(text[start:letters].upper()) if start >= 0 else None
        if length is None or not _begins_token(text, start):
            continue
        end = _collect(text, start, length)
        if end is None:
            continue
        compact = "".join(c for c in text[start:end] if c not in _SEPARATORS).upper()
        if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1:
            yield Finding(kind="iban", start=start, end=end, confidence=0.99, rule="iban.mod97")
            position = end


def _begins_token(text: str, start: int) -> bool:
    """No letter or digit stands before, unless it belongs to an escape in JSON text."""
    before = text[max(0, start - 2) : start]
    return not before[-1:].isalnum() or (len(before) == 2 and before[0] == "\\" and before[1] in "nrtbf")


def _collect(text: str, start: int, count: int) -> int | None:
    """End of ``count`` ASCII letters and digits from ``start`` with at most one separator between, or None."""
    position, seen, separated = start, 0, False
    while seen < count:
        if position >= len(text):
            return None
        character = text[position]
        if character.isascii() and character.isalnum():
            seen, separated = seen + 1, False
        elif character in _SEPARATORS and not separated:
            separated = True
        else:
            return None
        position += 1
    return None if position < len(text) and text[position].isalnum() else position


#: Lowest and highest prefix of an issuer's range, and the lengths it issues (ISO/IEC 7812, issuers' own documents).
_ISSUERS: Final = (
    ("visa", "4", "4", (13, 16, 19)),
    ("mastercard", "51", "55", (16,)),
    ("mastercard", "2221", "2720", (16,)),
    ("amex", "34", "34", (15,)),
    ("amex", "37", "37", (15,)),
    ("diners", "300", "305", (14,)),
    ("diners", "36", "36", (14,)),
    ("diners", "38", "39", (14,)),
    ("discover", "6011", "6011", (16, 19)),
    ("discover", "644", "659", (16, 19)),
    ("jcb", "3528", "3589", (16, 19)),
    ("jcb", "1800", "1800", (15,)),
    ("jcb", "2131", "2131", (15,)),
    ("unionpay", "62", "62", (16, 17, 18, 19)),
    ("maestro", "5018", "5018", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("maestro", "5020", "5020", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("maestro", "5038", "5038", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("maestro", "6304", "6304", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("maestro", "6759", "6763", (12, 13, 14, 15, 16, 17, 18, 19)),
)
_BY_FIRST_DIGIT: Final = {
    first: tuple(issuer for issuer in _ISSUERS if issuer[1][0] <= first <= issuer[2][0]) for first in "123456"
}
#: Digit → sum of the digits of its double.
_DOUBLED: Final = {str(digit): sum(map(int, str(2 * digit))) for digit in range(10)}
_BETWEEN: Final = " -\u00a0"
_DIGIT_RUN = re.compile(r"[0-9](?:[ \-\u00a0]?[0-9]){11,}+")
_CARD = re.compile(r"(?:(?<![A-Za-z0-9_.,\-])|(?<=\\[nrtbf]))[0-9](?:[ \-\u00a0]?[0-9]){11,18}")
_GROUPED = re.compile(
    r"\d{4}(?P<sep>[ \-\u00a0])\d{4}(?P=sep)\d{4}(?P=sep)\d{4}|\d{4}[ \-\u00a0]\d{6}[ \-\u00a0]\d{4,5}"
)


def find_cards(text: str) -> Iterator[Finding]:
    """Find card numbers of known issuers whose Luhn check digit is right (ISO/IEC 7812-1 annex B).

    Digits that a word such as *policy* or *invoice* introduces are taken for what the word says, unless they are
    grouped as cards are.
    """
    if sketch(text).digits < 12:
        return
    for run in _DIGIT_RUN.finditer(text):
        yield from _cards_in(text, run.start(), run.end())


def _cards_in(text: str, position: int, run_end: int) -> Iterator[Finding]:
    while found := _CARD.search(text, position, run_end):
        position = found.start() + 1
        start = found.start()
        if text[start + 1] in _BETWEEN:  # a first group of one digit: a list, however long it is
            continue
        places = [i for i in range(start, found.end()) if text[i].isdigit()]
        digits = "".join(text[i] for i in places)
        for brand, lengths in _issuers_of(digits):
            end = next((e for n in reversed(lengths) if (e := _card_end(text, digits, places, n))), None)
            if end is None or _is_list(text[start:end]) or _is_article(text, start, end):
                continue
            grouped = _GROUPED.fullmatch(text, start, end) is not None
            if grouped or introduced_by(text, start) != "reference":
                confidence = 0.98 if grouped else 0.95
                yield Finding(kind="card", start=start, end=end, confidence=confidence, rule=f"card.{brand}")
                position = end
            break
        else:
            yield from _introduced_card(text, start, digits, places)


def _introduced_card(text: str, start: int, digits: str, places: list[int]) -> Iterator[Finding]:
    """A number of no range in the table, if a word calls it a card and its check digit is right."""
    if introduced_by(text, start) == "card":
        end = next((e for n in range(19, 11, -1) if (e := _card_end(text, digits, places, n))), None)
        if end is not None and not _is_list(text[start:end]):
            yield Finding(kind="card", start=start, end=end, confidence=0.85, rule="card.after_word")


def _issuers_of(digits: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for brand, low, high, lengths in _BY_FIRST_DIGIT.get(digits[0], ()):
        if low <= digits[: len(low)] <= high:
            yield brand, lengths


def _card_end(text: str, digits: str, places: list[int], length: int) -> int | None:
    if len(digits) < length:
        return None
    end = places[length - 1] + 1
    if end < len(text) and (text[end].isalnum() or (text[end] in "-.," and text[end + 1 : end + 2].isdigit())):
        return None
    return end if luhn(digits[:length]) else None


def _is_list(written: str) -> bool:
    """Whether digits stand alone, as in a list: groups of a card, the last aside, have at least two digits."""
    return any(len(group) == 1 for group in re.split(r"[ \-\u00a0]", written)[:-1])


def _is_article(text: str, start: int, end: int) -> bool:
    """Whether 13 digits in one piece are an article number (GS1 General Specifications 7.9) that no card word leads."""
    written = text[start:end]
    if len(written) != 13 or not written.isdigit() or introduced_by(text, start) == "card":
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(written)) % 10 == 0


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of those before it (ISO/IEC 7812-1 annex B)."""
    plain, doubled = digits[-1::-2], digits[-2::-2]
    return (sum(map(int, plain)) + sum(map(_DOUBLED.__getitem__, doubled))) % 10 == 0
