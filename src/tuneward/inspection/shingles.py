"""Shingles: the overlapping pieces of a text by which near-duplicates are known, hashed for many texts at once.

Place on the road: beneath ``inspection.near_duplicates``. Case, punctuation and white space are folded away before a
text is cut, so that they never make a difference. Knows texts and hashes, neither rows nor thresholds.

A piece is hashed as a polynomial over its characters modulo 2^64 with an odd base B: of a whole batch one running sum
``S[i] = c[0] B^0 + … + c[i-1] B^(i-1)`` is made, and the piece from ``i`` to ``j`` is ``(S[j] - S[i]) B^-i``, whatever
its length (Karp and Rabin 1987, as prefix sums). A finaliser (Stafford's variant 13 of MurmurHash3's) mixes the bits.
The base is fixed, so whoever wants two texts to collide can make them; chance does not.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["characters", "words"]
Hashes = NDArray[np.uint64]

#: Characters that are handled in one piece of work.
BATCH_CHARACTERS: Final = 1 << 18
_BASE: Final = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_SPACE: Final = 32


@dataclass(frozen=True)
class Shingling:
    """How texts are cut.

    Attributes:
        unit: pieces of characters (blind to typing errors elsewhere in a word) or of words.
        width: characters, or words, in a piece; a shorter text is one piece.
    """

    unit: Unit = "characters"
    width: int = 6


#: Chosen by measurement, see ``docs/data-quality.md``.
DEFAULT: Final = Shingling()


@dataclass(frozen=True)
class Batch:
    """Shingles of several texts, repetitions included.

    Attributes:
        rows: for each shingle the position of its text in the batch, ascending.
        hashes: 64-bit hash of each shingle.
        count: number of texts.
    """

    rows: NDArray[np.int64]
    hashes: Hashes
    count: int


def cut(texts: Sequence[str], how: Shingling) -> Batch:
    """Cut and hash texts; in a text without letter or digit its signs take their place.

    Args:
        texts: in normal form (``duplicates.normal_form``); together about :data:`BATCH_CHARACTERS` at most, so that the
            arrays stay small.
        how: unit and width.
    """
    codes, starts = _folded([text if _has_word(text) else _spelt(text) for text in texts])
    ends = np.append(starts[1:], len(codes))
    sums = _sums(codes)
    if how.unit == "characters":
        first, last, rows = _runs(np.arange(len(codes)), starts, ends, how.width, np.arange(1, len(codes) + 1))
    else:
        begins = np.flatnonzero((codes != _SPACE) & (np.append(_SPACE, codes[:-1]) == _SPACE))
        word_starts = np.searchsorted(begins, starts)
        word_ends = np.searchsorted(begins, ends)
        stops = np.append(begins[1:], len(codes)) if len(begins) else begins
        first, last, rows = _runs(begins, word_starts, word_ends, how.width, stops)
    hashes = (sums[last] - sums[first]) * _powers(inverse=True, count=len(codes) + 1)[first]
    return Batch(rows, _mixed(hashes), len(texts))


def sets_of(batch: Batch) -> tuple[Hashes, NDArray[np.int64]]:
    """Distinct shingles of each text: ``(row << 40 | hash >> 24)`` ascending, and how many each text has."""
    keys = np.sort((batch.rows.astype(np.uint64) << np.uint64(40)) | (batch.hashes >> np.uint64(24)))
    keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
    return keys, np.bincount((keys >> np.uint64(40)).astype(np.int64), minlength=batch.count)


def _runs(
    begins: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    width: int,
    stops: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First character, end and text of every run of ``width`` units; a text with fewer units is one run.

    Args:
        begins: first character of each unit.
        starts: index of each text's first unit.
        ends: index after each text's last unit.
        width: units in a run.
        stops: the character after each unit.
    """
    sizes = ends - starts
    counts = np.maximum(sizes - width + 1, 1)
    rows = np.repeat(np.arange(len(starts)), counts)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    unit = starts[rows] + offsets
    final = unit + np.minimum(width, sizes)[rows] - 1
    return begins[unit], stops[final], rows


def _folded(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Code points of all texts, each word followed by one space; and where each text starts."""
    joined = "\n".join(texts) + "\n"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
    word = _word_characters()[codes]
    kept = word.copy()
    kept[1:] |= word[:-1]
    places = np.cumsum(kept)
    ends = np.cumsum(lengths)
    starts = np.append(0, places[ends[:-1] - 1]) if len(texts) else np.zeros(0, dtype=np.int64)
    return np.where(word, codes, np.uint32(_SPACE))[kept], starts


def _has_word(text: str) -> bool:
    if text.isascii():
        return any(map(str.isalnum, text))
    return bool(_word_characters()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)].any())


def _spelt(text: str) -> str:
    """A text of signs alone, as letters of a private use area, so that ``?!`` and ``:)`` stay two texts."""
    return "".join(chr(0xF0000 + (ord(character) & 0xFFFF)) for character in text) or chr(0xF0000)


@cache
def _word_characters() -> NDArray[np.bool_]:
    """For each code point whether it is a letter, a mark, a digit, or of the private use area of :func:`_spelt`."""
    table = np.zeros(0x110000, dtype=bool)
    for block in range(0, 0x32000, 0x1000):
        table[block : block + 0x1000] = [
            unicodedata.category(chr(code))[0] in "LMN" for code in range(block, block + 0x1000)
        ]
    table[0xF0000:0x100000] = True
    return table


def _sums(codes: NDArray[np.uint32]) -> Hashes:
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * _powers(inverse=False, count=len(codes)), out=sums[1:])
    return sums


_POWERS: dict[bool, Hashes] = {}


def _powers(*, inverse: bool, count: int) -> Hashes:
    """The first ``count`` powers of the base or of its inverse, modulo 2^64; computed once and grown by doubling."""
    known = _POWERS.get(inverse)
    if known is None or len(known) < count:
        size = max(count, BATCH_CHARACTERS + 1)
        base = pow(_BASE, -1, 1 << 64) if inverse else _BASE
        known = np.ones(1, dtype=np.uint64)
        while len(known) < size:
            step = np.uint64(pow(base, len(known), 1 << 64))
            known = np.concatenate([known, known * step])
        _POWERS[inverse] = known
    return known[:count]


def _mixed(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
