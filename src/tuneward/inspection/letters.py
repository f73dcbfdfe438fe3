"""Letters: classes of characters for patterns over names, in Latin, Greek and Cyrillic script.

Place on the road: ground of the detectors in this room. Knows no kind of finding.
"""

from typing import Final

_CODES: Final = [*range(0x41, 0x250), *range(0x370, 0x530), *range(0x1E00, 0x2000)]


def _class_of(characters: list[str]) -> str:
    """Characters as ranges for the inside of a pattern's class."""
    ranges: list[list[int]] = []
    for code in sorted(ord(c) for c in characters):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(chr(a) if a == b else f"{chr(a)}-{chr(b)}" for a, b in ranges)


#: Capital letters, for the inside of a class: ``[{UPPER}]``.
UPPER: Final = _class_of([chr(c) for c in _CODES if chr(c).isupper() or chr(c).istitle()])
#: Letters that are not capitals, for the inside of a class.
LOWER: Final = _class_of([chr(c) for c in _CODES if chr(c).isalpha() and not (chr(c).isupper() or chr(c).istitle())])
#: A word that begins with a capital: ``Anna``, ``O'Neill``, ``Jean-Luc``, ``MCDONALD``.
CAPITALISED: Final = rf"[{UPPER}][{UPPER}{LOWER}]*+(?:['’\-][{UPPER}{LOWER}]++)*+"
