"""A sketch of a text: which words and signs stand in it at all, so that a detector without work costs next to nothing.

Place on the road: the first look of ``inspection``. All words of a text are held against the words of every detector in
one pass at memory speed; what a detector then reads closely is only text that holds one of its own. Knows no kind of
finding: detectors register their words with :func:`vocabulary` when they are imported.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

#: Byte → itself in lower case where it may belong to a word, else a space. Bytes above 127 belong to letters.
_FOLD: Final = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if 97 <= byte <= 122 or byte >= 128 else 32 for byte in range(256)
)
#: Characters U+0080 to U+00BF and U+2000 to U+2FFF are signs, not letters.
_WIDE_SIGNS = re.compile(rb"\xc2[\x80-\xbf]|\xe2[\x80-\xbf]{2}")
#: Word → the vocabularies that hold it, one bit for each.
_KNOWN: dict[bytes, int] = {}
_NUMBERED: list[frozenset[bytes]] = []


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is known of a text before any detector reads it.

    Attributes:
        text: the text.
        lowered: the same in lower case, character for character.
        words: those of its words that some detector asked for, in lower case and UTF-8.
        digits: how many ASCII digits it holds.
        mask: the vocabularies of which a word stands in it, one bit for each.
        capitals: whether any letter is a capital.
    """

    text: str
    lowered: str
    words: frozenset[bytes]
    digits: int
    mask: int
    capitals: bool

    def holds(self, vocabulary: "Vocabulary") -> bool:
        """Whether a word of ``vocabulary`` stands in the text."""
        return self.mask & vocabulary.bit != 0

    def places(self, vocabulary: "Vocabulary") -> Iterator[tuple[int, int, str]]:
        """Where words of ``vocabulary`` stand: (start, end, word), by word and then by position."""
        lowered = self.lowered
        size = len(lowered)
        for coded in sorted(self.words & vocabulary.words):
            word = coded.decode("utf-8", "surrogatepass")
            length = len(word)
            start = lowered.find(word)
            while start >= 0:
                end = start + length
                if (start == 0 or not lowered[start - 1].isalpha()) and (end == size or not lowered[end].isalpha()):
                    yield start, end, word
                start = lowered.find(word, end)


class Vocabulary:
    """Words that a detector looks for; only whole words of letters, in lower case."""

    def __init__(self, words: frozenset[bytes]) -> None:
        """Take a number of its own, and have every sketch look for the words from now on."""
        self.words = words
        self.bit = 1 << len(_NUMBERED)
        _NUMBERED.append(words)
        for word in words:
            _KNOWN[word] = _KNOWN.get(word, 0) | self.bit
        sketch.cache_clear()


def vocabulary(words: Iterable[str]) -> Vocabulary:
    """Make a vocabulary of ``words``."""
    return Vocabulary(frozenset(word.lower().encode() for word in words))


def any_of(*vocabularies: Vocabulary) -> int:
    """The bits of several vocabularies, to hold a sketch's mask against."""
    bits = 0
    for one in vocabularies:
        bits |= one.bit
    return bits


def words(written: str) -> tuple[str, ...]:
    """Words between blanks, for lists that are easier to read as text."""
    return tuple(written.split())


def lower(text: str) -> str:
    """The text in lower case, with as many characters as before (``İ`` alone would become two)."""
    return text.lower() if text.isascii() else text.replace("İ", "I").lower()


@lru_cache(maxsize=1)
def sketch(text: str) -> Sketch:
    """Sketch a text; that of the last text is kept, since its detectors come one after the other."""
    lowered = lower(text)
    coded = lowered.encode("utf-8", "surrogatepass")
    digits = len(coded) - len(coded.translate(None, b"0123456789"))
    if not text.isascii():
        coded = _WIDE_SIGNS.sub(b" ", coded)
    words = frozenset(_KNOWN.keys() & coded.translate(_FOLD).split())
    mask = 0
    for word in words:
        mask |= _KNOWN[word]
    return Sketch(text, lowered, words, digits, mask, lowered != text)
