"""Pseudonyms: plausible fakes in place of what was found, the same for the same value as long as the site's key lasts.

Place on the road: asked by ``inspection.redaction`` where a policy says ``pseudonymise``. Each fake is drawn by
HMAC-SHA-256 of kind and value, so that nobody without the key can go back, and everybody with it only by guessing.
Fakes stand where nobody can be hit: domains and addresses kept for examples (RFC 2606, 5737, 3849, 7042), telephone
numbers that regulators keep for fiction, banks and issuers that do not exist. Two values may share a fake.

A kind without a plausible fake becomes its placeholder with a keyed tag: ``[NATIONAL_ID_3f9a01c2]``.
"""

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

_WORD = re.compile(r"[^\W\d_]+")
_NO_ALNUM = re.compile(r"[\W_]+")
_NO_DIGIT = re.compile(r"\D+")
_TRIES: Final = 64


class Draw:
    """Numbers drawn one after the other from a key and a value.

    Args:
        key: the site's key for pseudonyms.
        kind: of the finding.
        value: what is replaced, in its plainest form.
        turn: another turn draws other numbers.
    """

    def __init__(self, key: bytes, kind: str, value: str, turn: int = 0) -> None:
        seed = f"{kind}\0{turn}\0{value}".encode(errors="surrogatepass")
        self._left = int.from_bytes(hmac.new(key, seed, hashlib.sha512).digest())

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound - 1``."""
        self._left, drawn = divmod(self._left, bound)
        return drawn

    def digits(self, count: int) -> str:
        """So many decimal digits."""
        return f"{self.below(10**count):0{count}d}"

    def hexadecimal(self, count: int) -> str:
        """So many hexadecimal digits."""
        return f"{self.below(16**count):0{count}x}"


@dataclass(frozen=True)
class Pseudonyms:
    """Makes fakes.

    Attributes:
        key: the site's key; without it no fake can be traced.
    """

    key: bytes

    def __repr__(self) -> str:
        return "Pseudonyms()"  # a traceback or log line must not show the key

    def fake(self, kind: str, value: str) -> str:
        """The stand-in for a value: the same each time, never the value itself.

        Args:
            kind: of the finding.
            value: what was found, decoded and normalised where a view showed it.
        """
        make = _FAKES.get(kind)
        if make is not None:
            for turn in range(_TRIES):
                made = make(self, value, turn)
                if made is not None and _compact(made) != _compact(value):
                    return made
        drawn = Draw(self.key, kind, _compact(value))
        return f"[{kind.upper().replace(':', '_')}_{drawn.hexadecimal(8)}]"

    def name(self, value: str, turn: int = 0) -> str:
        """A name word by word, so that *Bauer* and *Anna Bauer* stay of one family; titles and small words stay."""
        return _WORD.sub(lambda word: self._name_word(word[0], turn), value)

    def _name_word(self, word: str, turn: int) -> str:
        names = _names()
        plain = _plain_word(word)
        if plain in names.kept:
            return word
        if len(word) == 1:
            drawn = chr(ord("A") + Draw(self.key, "initial", plain, turn).below(26))
        else:
            listed = names.given if plain in names.given_words else names.family
            for further in range(turn, turn + _TRIES):
                drawn = listed[Draw(self.key, "name", plain, further).below(len(listed))]
                if _plain_word(drawn) != plain:
                    break
        return drawn.upper() if word.isupper() else drawn.lower() if word.islower() else drawn


@dataclass(frozen=True)
class _Names:
    given: tuple[str, ...]
    family: tuple[str, ...]
    given_words: frozenset[str]
    kept: frozenset[str]


@cache
def _names() -> _Names:
    read: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))
    given = tuple(read["given"].split())
    words = frozenset(map(_plain_word, given))
    return _Names(given, tuple(read["family"].split()), words, frozenset(read["kept"].split()))


def _plain_word(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _compact(value: str) -> str:
    return _NO_ALNUM.sub("", unicodedata.normalize("NFKC", value).casefold())


def _email(made_by: Pseudonyms, value: str, turn: int) -> str | None:
    local, _, domain = unicodedata.normalize("NFKC", value).casefold().rpartition("@")
    house = Draw(made_by.key, "domain", domain, turn)
    words = [_plain_word(made_by.name(word, turn)) for word in _WORD.findall(local) if len(word) > 1][:3]
    number = Draw(made_by.key, "email", f"{local}@{domain}", turn).digits(4)
    ending = ("com", "net", "org")[house.below(3)]
    return f"{'.'.join([*words, number])}@{house.hexadecimal(5)}.example.{ending}"


#: Country code → numbers that nobody has, ``#`` for a digit: Bundesnetzagentur (2021) for Germany, Arcep decision
#: 2019-0954 for France, Ofcom's numbers for drama use, the North American 555-01XX; every other country gets Ofcom's.
_FICTION: Final[Mapping[str, tuple[str, ...]]] = {
    "49": ("30 23125 ###", "40 66969 ###", "221 4710 ###", "89 99998 ###", "69 90009 ###", "171 39200 ##"),
    "33": ("1 99 00 ## ##", "2 61 91 ## ##", "3 53 01 ## ##", "4 65 71 ## ##", "5 36 49 ## ##", "6 39 98 ## ##"),
    "44": ("7700 900###", "20 7946 0###", "161 496 0###", "121 496 0###", "113 496 0###", "131 496 0###"),
    "1": tuple(f"{area}-555-01##" for area in (
        202, 206, 212, 213, 214, 215, 303, 305, 312, 313, 404, 410, 412, 415, 503, 504, 512, 602, 612, 617, 619, 702,
        704, 713, 801, 808, 816, 901, 907, 913,
    )),
}  # fmt: skip


def _phone(made_by: Pseudonyms, value: str, turn: int) -> str:
    """In the country and style of the original; the last nine digits decide, so that ``0170…`` is ``+49 170…``."""
    digits = _NO_DIGIT.sub("", unicodedata.normalize("NFKC", value))
    international = value.lstrip(" (").startswith("+") or digits.startswith("00")
    country = _country(digits.removeprefix("00")) if international else _national(digits)
    draw = Draw(made_by.key, "phone", digits[-9:], turn)
    numbers = _FICTION[country]
    number = re.sub("#", lambda _: draw.digits(1), numbers[draw.below(len(numbers))])
    if international:
        return f"+{country} {number}"
    return number if country == "1" else f"0{number}"


def _country(digits: str) -> str:
    return next((code for code in _FICTION if digits.startswith(code)), "44")


def _national(digits: str) -> str:
    if not digits.startswith("0"):
        return "1"
    if len(digits) == 11 and digits.startswith(("07", "02", "01")):
        return "44" if not digits.startswith(("015", "016", "017")) else "49"
    return "33" if len(digits) == 10 and digits[1] in "1234569" and digits[1:3] not in {"30", "40", "69"} else "49"


def _iban(made_by: Pseudonyms, value: str, turn: int) -> str | None:
    """Of the same country and length, of bank ``0000`` or ``XXXX``, with right check digits (ISO 13616-1)."""
    compact = "".join(c for c in unicodedata.normalize("NFKC", value).upper() if c.isascii() and c.isalnum())
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}", compact):
        return None
    draw = Draw(made_by.key, "iban", compact, turn)
    bank = "".join("0" if c.isdigit() else "X" for c in compact[4:8])
    rest = "".join(draw.digits(1) if c.isdigit() else chr(ord("A") + draw.below(26)) for c in compact[8:])
    check = 98 - int("".join(str(int(c, 36)) for c in f"{bank}{rest}{compact[:2]}00")) % 97
    made = f"{compact[:2]}{check:02d}{bank}{rest}"
    return made if value == compact else " ".join(made[at : at + 4] for at in range(0, len(made), 4))


def _card(made_by: Pseudonyms, value: str, turn: int) -> str | None:
    """Of the same brand's range and length, from an issuer ``0000`` within it, with the right Luhn digit."""
    digits = "".join(str(unicodedata.decimal(c)) for c in value if c.isdecimal())
    if len(digits) < 12:
        return None
    draw = Draw(made_by.key, "card", digits, turn)
    head = digits[0] + "0" * 5 if digits[0] == "4" else digits[:4] + "00"
    body = head + draw.digits(len(digits) - 7)
    total = sum(n if place % 2 else (2 * n - 9 if n > 4 else 2 * n) for place, n in enumerate(map(int, reversed(body))))
    made = iter(f"{body}{-total % 10}")
    return "".join(next(made) if c.isdecimal() else c for c in value)


def _ip(made_by: Pseudonyms, value: str, turn: int) -> str:
    draw = Draw(made_by.key, "ip", value.strip().casefold(), turn)
    if ":" in value:
        return f"2001:db8:{draw.hexadecimal(4)}:{draw.hexadecimal(4)}::{draw.hexadecimal(4)}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[draw.below(3)]}.{1 + draw.below(254)}"


def _mac(made_by: Pseudonyms, value: str, turn: int) -> str:
    draw = Draw(made_by.key, "mac", _compact(value), turn)
    sign = "-" if "-" in value else ":"
    return sign.join(("00", "00", "5E", "00", "53", draw.hexadecimal(2).upper()))


def _url(made_by: Pseudonyms, value: str, turn: int) -> str:
    draw = Draw(made_by.key, "url", value.strip().casefold(), turn)
    return f"https://{draw.hexadecimal(5)}.example.org/{draw.hexadecimal(6)}"


#: Kind → its fake, or None where the value is not of the expected form. The rest gets a tag.
_FAKES: Final[Mapping[str, Callable[[Pseudonyms, str, int], str | None]]] = {
    "card": _card,
    "email": _email,
    "iban": _iban,
    "ip": _ip,
    "mac": _mac,
    "person": Pseudonyms.name,
    "phone": _phone,
    "url": _url,
}
