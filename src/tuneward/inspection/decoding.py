r"""Decoding: text within a text, written in base64, hexadecimal, URL escapes or tag characters.

Place on the road: makes the views ``base64``, ``hex``, ``url`` and ``tags``. A piece counts only where it decodes to
printable UTF-8. No decoding makes a text longer and none decompresses, and whoever asks goes no deeper than two, so
that the work is bounded by the text's length. Not decoded: ROT13, quoted-printable, HTML entities, archives.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Final

from tuneward.inspection.linear import LinearPattern
from tuneward.inspection.views import Edit

_LEAST_CHARACTERS: Final = 4  # of a decoded piece
_BASE64: Final = r"[A-Za-z0-9+/_\-]{12,}(?:\r?\n[A-Za-z0-9+/_\-]{8,})*={0,2}"
_HEX: Final = r"(?:[0-9A-Fa-f]{2}){6,}|[0-9A-Fa-f]{2}(?:[ :][0-9A-Fa-f]{2}){5,}|(?:\\x[0-9A-Fa-f]{2}){3,}"
_URL: Final = r"(?:%[0-9A-Fa-f]{2})+"
_TAGS: Final = r"[\x{E0020}-\x{E007E}]{4,}|[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]{4,}"
#: Letters and digits in an order that words do not have, and base64 of more than a few bytes hardly ever lacks.
_NO_WORD: Final = r"[a-z0-9+/][A-Z][A-Za-z0-9+/_\-]|[A-Za-z][0-9]+[A-Za-z]"
_NO_HEX = re.compile(r"\\x|[ :]")
_NO_BASE64 = re.compile(r"[\r\n=]")
_MIXED = re.compile(r".[a-z0-9+/_\-]*[A-Z0-9]")


def _text(decoded: bytes) -> str | None:
    """Printable text of bytes, or None where they are something else."""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        return None
    readable = len(text) >= _LEAST_CHARACTERS and "".join(text.split()).isprintable()
    return text if readable else None


def _from_base64(piece: str) -> str | None:
    """Standard and URL alphabet (RFC 4648 sections 4 and 5), padded or not, lines joined."""
    compact = _NO_BASE64.sub("", piece)
    if len(compact) % 4 == 1 or not _MIXED.match(compact):
        return None
    try:
        decoded = base64.b64decode(compact + "=" * (-len(compact) % 4), altchars=b"-_" if _urls(compact) else None)
    except (binascii.Error, ValueError):
        return None
    return _text(decoded)


def _urls(compact: str) -> bool:
    return "-" in compact or "_" in compact


def _from_hex(piece: str) -> str | None:
    try:
        return _text(bytes.fromhex(_NO_HEX.sub("", piece)))
    except ValueError:
        return None


def _from_tags(piece: str) -> str | None:
    """Tag characters are ASCII moved up; variation selectors can carry a byte each."""
    if "\U000e0020" <= piece[0] <= "\U000e007e":
        return "".join(chr(ord(c) - 0xE0000) for c in piece)
    return _text(bytes(ord(c) - 0xFE00 if ord(c) < 0xE0100 else ord(c) - 0xE0100 + 16 for c in piece))


def _whole(decode: Callable[[str], str | None]) -> Callable[[str, int, int], Iterator[Edit]]:
    """A decoder of whole pieces, as one that yields edits; of a piece of several lines each may stand alone."""

    def edits(text: str, start: int, end: int) -> Iterator[Edit]:
        decoded = decode(text[start:end])
        if decoded is not None:
            yield Edit(start, end, decoded)
            return
        if "\n" in text[start:end]:
            for line in re.finditer(r"[^\r\n]+", text[start:end]):
                if decoded := decode(line[0]):
                    yield Edit(start + line.start(), start + line.end(), decoded)

    return edits


def _from_url(text: str, start: int, end: int) -> Iterator[Edit]:
    """Percent escapes (RFC 3986 section 2.1), character by character, so that a span stays as short as it can."""
    decoded = bytes.fromhex(text[start:end].replace("%", ""))
    try:
        characters = decoded.decode()
    except UnicodeDecodeError:
        return
    place = start
    for character in characters:
        size = 3 * len(character.encode())
        yield Edit(place, place + size, character)
        place += size


#: View → where it may apply, and the edits of a place.
_DECODERS: Final[Mapping[str, tuple[str, Callable[[str, int, int], Iterator[Edit]]]]] = {
    "hex": (_HEX, _whole(_from_hex)),
    "base64": (_BASE64, _whole(_from_base64)),
    "url": (_URL, _from_url),
    "tags": (_TAGS, _whole(_from_tags)),
}


@cache
def _patterns() -> Mapping[str, LinearPattern]:
    return {name: LinearPattern(expression) for name, (expression, _) in _DECODERS.items()}


def encoded_expression() -> str:
    """Where :func:`decoded` may find a piece."""
    return "|".join((_NO_WORD, *(_DECODERS[name][0] for name in ("hex", "url", "tags"))))


def decoded(text: str) -> Iterator[tuple[str, list[Edit]]]:
    """For each way of encoding the edits that decode it; ways that have none are left out."""
    for name, (_, decode) in _DECODERS.items():
        edits = [edit for span in _patterns()[name].spans(text) for edit in decode(text, *span)]
        if edits:
            yield name, edits
