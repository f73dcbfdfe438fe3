r"""Spelling: what is written out or set apart so that no pattern sees it in one piece.

Place on the road: makes the view ``normalised``, together with ``inspection.normalisation``. Read as one piece are
digits written as words in five languages (``four one five, five five five …``), characters set apart (``4 1 1 1``,
``j-a-n-e``) and addresses spelled out (``jane (at) example dot org``, ``a . b @ c``).

Not undone: numbers in tens (``forty-two``), digit words of other languages, leetspeak, ROT13.
"""

import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from tuneward.inspection.linear import LinearPattern
from tuneward.inspection.views import Edit

_DIGIT_WORDS: Final = {
    "0": "zero|oh|null|zéro|cero",
    "1": "one|eins|un|uno",
    "2": "two|zwei|zwo|deux|due|dos",
    "3": "three|drei|trois|tre|tres",
    "4": "four|vier|quatre|quattro|cuatro",
    "5": "five|fünf|fuenf|cinq|cinque|cinco",
    "6": "six|sechs|sei|seis",
    "7": "seven|sieben|sept|sette|siete",
    "8": "eight|acht|huit|otto|ocho",
    "9": "nine|neun|neuf|nove|nueve",
}
_DIGIT_OF: Final = {word: digit for digit, words in _DIGIT_WORDS.items() for word in words.split("|")}
_TIMES: Final = {"double": 2, "doppel": 2, "triple": 3, "treble": 3}
_LEAST_WORDS: Final = 4

_WORD: Final = rf"(?:(?:{'|'.join(_TIMES)})[ \-])?(?:{'|'.join(_DIGIT_OF)})"
_BREAK: Final = r"(?:[ \t\r\n]{1,3}|[,.;]?[ ]?[\-/]?[ ]?)"
_DIGITS: Final = rf"(?i:\b{_WORD}(?:{_BREAK}\b(?:{_WORD}|[0-9]{{1,4}})){{3,}}\b)"

_APART: Final = r"(?:^|[\s(\[\"':,])[^\s](?:[ \t]{1,3}[^\s]){5,}(?:\s|$)"
_SIGNED: Final = r"\b[0-9A-Za-z](?:[\-_.*|/][0-9A-Za-z@]){5,}\b"

_OPEN, _CLOSE = r"[ ]?[(\[{<][ ]?", r"[ ]?[)\]}>][ ]?"
_AT_WORD, _DOT_WORD = "(?:at|ät|chiocciola|arroba|arobase)", "(?:dot|punkt|punto|point)"
_SPELLED_AT: Final = rf"(?:{_OPEN}(?:{_AT_WORD}|@){_CLOSE})"
_SPELLED_DOT: Final = rf"(?:{_OPEN}(?:{_DOT_WORD}|\.){_CLOSE}|[ ]{_DOT_WORD}[ ]|[ ]\.[ ])"
_PIECE: Final = r"[\w+\-\x{A1}-\x{10FFFF}]+"
_DOTTED: Final = rf"{_PIECE}(?:(?:{_SPELLED_DOT}|\.){_PIECE})*"
_TOP: Final = r"[A-Za-z\x{C0}-\x{24F}]{2,24}"


def _bare(at: str, dot: str) -> str:
    """Words without brackets, of one language: *at this point in time* is no address."""
    return rf"[ ](?:{at})[ ]{_PIECE}(?:[ ](?:{dot})[ ]{_PIECE})*[ ](?:{dot})[ ]{_TOP}"


_ADDRESS: Final = (
    rf"(?i:{_DOTTED}(?:"
    rf"(?:{_SPELLED_AT}|[ ]{{1,2}}@[ ]{{0,2}}|@[ ]{{1,2}}){_DOTTED}(?:{_SPELLED_DOT}|\.){_TOP}"
    rf"|@{_PIECE}(?:{_SPELLED_DOT}{_PIECE})*{_SPELLED_DOT}{_TOP}"
    rf"|{_bare('at', 'dot|punkt')}|{_bare('chiocciola|arroba', 'punto')}|{_bare('arobase', 'point')}))"
)

_DIGIT_TOKEN: Final = re.compile(
    rf"(?:(?P<times>{'|'.join(_TIMES)})[ \-])?(?P<word>{'|'.join(sorted(_DIGIT_OF, key=len, reverse=True))})|[0-9]+",
    re.IGNORECASE,
)
_ADDRESS_TOKEN: Final = re.compile(
    r" {0,2}[(\[{<]? ?(?:(?P<at>@|(?<![^\W_])(?:at|ät|chiocciola|arroba|arobase)(?![^\W_]))"
    r"|(?<![^\W_])(?:dot|punkt|punto|point)(?![^\W_])|\.) ?[)\]}>]? {0,2}",
    re.IGNORECASE,
)


def spelled_expression() -> str:
    """Where :func:`joined_spelling` may have something to edit."""
    return "|".join((_DIGITS, _APART, _SIGNED, _ADDRESS))


@cache
def _patterns() -> tuple[LinearPattern, ...]:
    return tuple(map(LinearPattern, (_DIGITS, _APART, _SIGNED, _ADDRESS)))


def joined_spelling(text: str) -> list[Edit]:
    """Edits that join what is spelled out or set apart, from left to right."""
    digits, apart, signed, address = _patterns()
    found = [edit for span in digits.spans(text) for edit in _digits(text, *span)]
    found += [edit for span in apart.spans(text) for edit in _without(text, *span, "".join(map(chr, range(33))))]
    found += [edit for span in signed.spans(text) for edit in _signed(text, *span)]
    found += [edit for span in address.spans(text) for edit in _address(text, *span)]
    edits: list[Edit] = []
    for edit in sorted(found, key=lambda edit: (edit.start, -edit.end)):
        if not edits or edit.start >= edits[-1].end:
            edits.append(edit)
    return edits


def _digits(text: str, start: int, end: int) -> Iterator[Edit]:
    """Words become digits; space between them goes, any other sign becomes a hyphen, which groups digits."""
    tokens = list(_DIGIT_TOKEN.finditer(text, start, end))
    if sum(token["word"] is not None for token in tokens) < _LEAST_WORDS:
        return
    values = [
        _DIGIT_OF[token["word"].lower()] * _TIMES.get((token["times"] or "").lower(), 1) if token["word"] else token[0]
        for token in tokens
    ]
    if _counts_up("".join(values)):
        return
    last = start
    for token, value in zip(tokens, values, strict=True):
        if last < token.start() and last > start:
            yield Edit(last, token.start(), "" if text[last : token.start()].isspace() else "-")
        if token["word"]:
            yield Edit(token.start(), token.end(), value)
        last = token.end()


def _signed(text: str, start: int, end: int) -> Iterator[Edit]:
    signs = set(text[start + 1 : end : 2])
    if len(signs) == 1 and not _counts_up(text[start:end:2]):
        yield from _without(text, start, end, signs.pop())


def _without(text: str, start: int, end: int, left_out: str) -> Iterator[Edit]:
    """Leave out runs of some characters between others."""
    while start < end and text[start] in left_out:
        start += 1
    while end > start and text[end - 1] in left_out:
        end -= 1
    if _counts_up("".join(c for c in text[start:end] if c not in left_out)):
        return
    begun = None
    for place in range(start, end):
        if text[place] in left_out:
            begun = place if begun is None else begun
        elif begun is not None:
            yield Edit(begun, place, "")
            begun = None


def _address(text: str, start: int, end: int) -> Iterator[Edit]:
    for token in _ADDRESS_TOKEN.finditer(text, start, end):
        plain = "@" if token["at"] else "."
        if token[0] != plain:
            yield Edit(token.start(), token.end(), plain)


def _counts_up(digits: str) -> bool:
    """Whether someone counts: each digit is the one before plus one."""
    return digits.isdigit() and all((int(b) - int(a)) % 10 == 1 for a, b in itertools.pairwise(digits))
