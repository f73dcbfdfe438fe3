r"""Normalisation: the characters that a reader takes a text's characters for.

Place on the road: makes the view ``normalised``, together with ``inspection.spelling``. Undone are characters dressed
as others (NFKC of UAX 15, letters of other alphabets by UTS 39, dashes, digits of every script) and characters that
nobody sees (zero width, tags, soft hyphens, variation selectors). Letters of another alphabet are read as Latin only in
a word that holds Latin letters, digits or ``@``: a Russian word stays one. Knows nothing of what is looked for.
"""

import json
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tuneward.inspection.linear import LinearPattern
from tuneward.inspection.views import Edit

_UNSEEN: Final = (
    r"\x{00AD}\x{034F}\x{061C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{200B}-\x{200F}\x{202A}-\x{202E}"
    r"\x{2060}-\x{206F}\x{3164}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFA0}\x{FFF9}-\x{FFFB}\x{1D173}-\x{1D17A}"
    r"\x{E0000}-\x{E0FFF}"
)
#: Characters with a plainer form, combining marks, dashes, and digits other than ASCII's.
_DRESSED: Final = (
    r"\x{0132}\x{0133}\x{0149}\x{017F}\x{02B0}-\x{02B8}\x{0300}-\x{036F}\x{1D2C}-\x{1D6A}\x{2000}-\x{200A}"
    r"\x{2010}-\x{2012}\x{2015}\x{2024}\x{205F}\x{2070}-\x{209C}\x{2100}-\x{2115}\x{2117}-\x{2121}\x{2123}-\x{214F}"
    r"\x{2150}-\x{218B}\x{2212}\x{2460}-\x{24FF}\x{3000}\x{FB00}-\x{FB06}\x{FE52}\x{FE58}\x{FE63}\x{FE6B}"
    r"\x{FF01}\x{FF03}-\x{FF0B}\x{FF0D}-\x{FF5E}\x{FF61}\x{1D400}-\x{1D7FF}\x{1F100}-\x{1F1E5}\x{1FBF0}-\x{1FBF9}"
    r"\x{0660}-\x{0669}\x{06F0}-\x{06F9}\x{07C0}-\x{07C9}\x{0966}-\x{096F}\x{09E6}-\x{09EF}\x{0A66}-\x{0A6F}"
    r"\x{0AE6}-\x{0AEF}\x{0B66}-\x{0B6F}\x{0BE6}-\x{0BEF}\x{0C66}-\x{0C6F}\x{0CE6}-\x{0CEF}\x{0D66}-\x{0D6F}"
    r"\x{0E50}-\x{0E59}\x{0ED0}-\x{0ED9}\x{0F20}-\x{0F29}\x{1040}-\x{1049}\x{17E0}-\x{17E9}\x{1810}-\x{1819}"
)
_ODD: Final = rf"[{_UNSEEN}{_DRESSED}]+|[0-9] ?[\x{{2013}}\x{{2014}}]"
_SIGNS: Final = {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"} | {ord("\uff61"): "."}
_LONGEST_MARKS: Final = 32  # combining marks that one letter takes along
_LONGEST_HALF_WORD: Final = 128


@cache
def _look_alikes() -> dict[str, str]:
    """Letter of another alphabet → the ASCII letter or digit that it looks like (UTS 39, ``confusables.txt``)."""
    table = json.loads(Path(__file__).with_name("homoglyphs.json").read_text(encoding="utf-8"))["looks_like"]
    return {letter: plain for plain, letters in table.items() for letter in letters}


@cache
def _odd() -> LinearPattern:
    return LinearPattern(_ODD)


@cache
def _unseen() -> LinearPattern:
    return LinearPattern(f"^[{_UNSEEN}]+$")


@cache
def _mixed() -> LinearPattern:
    return LinearPattern(mixed_expression())


def mixed_expression() -> str:
    """Where a letter that looks Latin stands beside what is Latin, a digit or ``@``."""
    strange = "".join(rf"\x{{{ord(letter):04X}}}" for letter in sorted(_look_alikes()))
    between = rf"[.\-_@{_UNSEEN}]{{0,3}}"
    return f"[A-Za-z0-9@]{between}[{strange}]|[{strange}]{between}[A-Za-z0-9@]"


def odd_expression() -> str:
    """Where :func:`plain_characters` may have something to edit."""
    return f"{_ODD}|{mixed_expression()}"


def plain_characters(text: str) -> list[Edit]:
    """Edits after which every character is what a reader takes it for, from left to right."""
    if text.isascii():
        return []
    edits = [edit for start, end in _odd().spans(text) for edit in _undressed(text, start, end)]
    taken = {place for edit in edits for place in range(edit.start, edit.end)}
    latin = [edit for edit in _as_latin(text) if edit.start not in taken]
    return sorted([*edits, *latin], key=lambda edit: edit.start) if latin else edits


def _undressed(text: str, start: int, end: int) -> Iterator[Edit]:
    """A letter and its combining marks are one piece: together they may have a form of their own."""
    if unicodedata.combining(text[start]) and start and not unicodedata.combining(text[start - 1]):
        start -= 1
    while start < end:
        after = start + 1
        while after < end and after - start < _LONGEST_MARKS and unicodedata.combining(text[after]):
            after += 1
        piece = text[start:after]
        plain = "".join(_digit(c) for c in unicodedata.normalize("NFKC", piece) if not _unseen().found_in(c))
        plain = plain.translate(_SIGNS)
        if plain != piece:
            yield Edit(start, after, plain)
        start = after


def _digit(character: str) -> str:
    value = None if character.isascii() else unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _as_latin(text: str) -> Iterator[Edit]:
    look_alikes, done = _look_alikes(), 0
    for start, end in _mixed().spans(text):
        first, last = max(start, done), end
        while first > done and start - first < _LONGEST_HALF_WORD and not text[first - 1].isspace():
            first -= 1
        while last < len(text) and last - end < _LONGEST_HALF_WORD and not text[last].isspace():
            last += 1
        for place in range(first, last):
            if plain := look_alikes.get(text[place]):
                yield Edit(place, place + 1, plain)
        done = max(done, last)
