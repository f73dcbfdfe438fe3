"""Near-duplicates: texts whose shingles are mostly the same, in any number of texts and in bounded memory.

Place on the road: ``data.overlap`` and ``data.quality`` put texts in one by one and ask for the clusters at the end.
Candidates meet by MinHash (``inspection.minhash``); whether they belong together is decided by their true shingles.
Knows texts and positions, neither rows nor splits.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.clusters import Clusters, Positions, Union
from tuneward.inspection.minhash import BANDS, Signatures, band_keys, estimate, signatures
from tuneward.inspection.shingles import BATCH_CHARACTERS, DEFAULT, Shingling, cut, sets_of

#: Gives a text again by its position, in normal form.
TextOf = Callable[[int], str]
Pairs = tuple[Positions, Positions]

_NEIGHBOURS: Final = 6
#: Four standard errors of an estimated similarity.
DOUBT: Final = 0.18
_CHUNK_PAIRS: Final = 1 << 16
_CHUNK_CHARACTERS: Final = 4 * BATCH_CHARACTERS


@dataclass(frozen=True)
class Likeness:
    """When two texts are near-duplicates.

    Attributes:
        shingling: what they are cut into.
        jaccard: least share of shingles in common, of all that either has.
        contained: least share of the smaller one's shingles that the larger one has, where the smaller has at least
            ``smaller`` of the larger's number: one text is the other, cut off or with something before it.
        smaller: see ``contained``; 1 switches that rule off.
    """

    shingling: Shingling = DEFAULT
    jaccard: float = 0.6
    contained: float = 0.9
    smaller: float = 0.5

    @property
    def least_jaccard(self) -> float:
        """The least Jaccard similarity that near-duplicates can have under either rule."""
        if self.smaller >= 1:
            return self.jaccard
        shared = self.contained * self.smaller
        return min(self.jaccard, shared / (1 + self.smaller - shared))


@dataclass
class NearDuplicates:
    """Takes texts one by one and tells which belong together.

    Kept of each text are 8 bytes of digest and 128 of signature; the texts themselves are asked for again when
    candidates are compared that the signatures do not tell apart. Texts of equal digest are one. In each band a text
    is compared with the next six under the same key, in an order drawn from the digests, so that the work is linear;
    where one key gathers many unlike texts, a pair can be missed. The clusters do not depend on the order in which
    texts came.

    Attributes:
        like: when two texts are near-duplicates.
        compared: pairs whose shingles were compared, after :meth:`clusters`.
    """

    like: Likeness = field(default_factory=Likeness)
    compared: int = 0
    _pending: list[str] = field(default_factory=list)
    _pending_characters: int = 0
    _digests: list[NDArray[np.uint64]] = field(default_factory=list)
    _signed: list[Signatures] = field(default_factory=list)
    _count: int = 0

    def add(self, text: str) -> int:
        """Take a text in normal form; returns its position, counted from 0."""
        self._pending.append(text)
        self._pending_characters += len(text) + 1
        self._count += 1
        if self._pending_characters >= BATCH_CHARACTERS:
            self._work()
        return self._count - 1

    def __len__(self) -> int:
        return self._count

    def clusters(self, text_of: TextOf) -> Clusters:
        """The clusters of all texts so far.

        Args:
            text_of: gives a text again by its position; asked for candidates only.
        """
        self._work()
        union = Union(self._count)
        if not self._count:
            return Clusters(union.roots)
        digests, signed = self._together()
        _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
        union.join(np.arange(self._count), first[inverse])
        refused = np.zeros(0, dtype=np.uint64)
        for band in range(BANDS):
            ones, others = _neighbours(band_keys(signed[first], band), digests[first], band)
            ones, others = first[ones], first[others]
            apart = union.roots[ones] != union.roots[others]
            pairs = np.unique(packed(ones[apart], others[apart]))
            pairs = pairs[~_among(pairs, refused)]
            alike = self._alike(pairs, signed, text_of)
            union.join(*_unpacked(pairs[alike]))
            refused = np.sort(np.concatenate([refused, pairs[~alike]]))
        return Clusters(union.roots)

    def _together(self) -> tuple[NDArray[np.uint64], Signatures]:
        self._digests, self._signed = [np.concatenate(self._digests)], [np.concatenate(self._signed)]
        return self._digests[0], self._signed[0]

    def _work(self) -> None:
        if self._pending:
            self._digests.append(np.fromiter(map(digest_of, self._pending), np.uint64, len(self._pending)))
            self._signed.append(signatures(cut(self._pending, self.like.shingling)))
        self._pending, self._pending_characters = [], 0

    def _alike(self, pairs: NDArray[np.uint64], signed: Signatures, text_of: TextOf) -> NDArray[np.bool_]:
        found = np.zeros(len(pairs), dtype=bool)
        for begin in range(0, len(pairs), _CHUNK_PAIRS):
            ones, others = _unpacked(pairs[begin : begin + _CHUNK_PAIRS])
            found[begin : begin + _CHUNK_PAIRS] = (
                estimate(signed[ones], signed[others]) >= self.like.least_jaccard - DOUBT
            )
        likely = np.flatnonzero(found)
        self.compared += len(likely)
        found[likely] = alike_in_chunks(pairs[likely], text_of, self.like)
        return found


def alike_in_chunks(pairs: NDArray[np.uint64], text_of: TextOf, like: Likeness) -> NDArray[np.bool_]:
    """:func:`alike` for any number of pairs, in pieces whose texts together stay small."""
    parts = [alike(part, text_of, like) for part in _chunks(pairs, text_of)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def alike(pairs: NDArray[np.uint64], text_of: TextOf, like: Likeness) -> NDArray[np.bool_]:
    """For each packed pair of positions whether the two texts are near-duplicates, by their true shingles."""
    ones, others = _unpacked(pairs)
    rows, numbered = np.unique(np.concatenate([ones, others]), return_inverse=True)
    keys, sizes = sets_of(cut([text_of(row) for row in rows.tolist()], like.shingling))
    one, other = numbered[: len(ones)], numbered[len(ones) :]
    one, other = np.where(sizes[one] <= sizes[other], (one, other), (other, one))
    shared = _shared(keys, sizes, one, other)
    small, large = sizes[one], sizes[other]
    near = shared >= like.jaccard * (small + large - shared)
    within = (shared >= like.contained * small) & (small >= like.smaller * large) & (like.smaller < 1)
    return np.asarray(near | within)


def digest_of(text: str) -> int:
    """64 bits that stand for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def near_duplicates(texts: Sequence[str], *, like: Likeness | None = None) -> Clusters:
    """The clusters of texts in normal form that are all at hand."""
    index = NearDuplicates(like or Likeness())
    for text in texts:
        index.add(text)
    return index.clusters(texts.__getitem__)


def _neighbours(keys: NDArray[np.uint32], digests: NDArray[np.uint64], band: int) -> Pairs:
    """Texts under one key: each with the next few, in an order that each band draws anew from the digests."""
    drawn = digests * np.uint64(0x9E3779B97F4A7C15 + 2 * band)
    order = np.lexsort((drawn, keys))
    ordered = keys[order]
    found = [np.zeros((2, 0), dtype=np.int64)]
    for step in range(1, _NEIGHBOURS + 1):
        at = np.flatnonzero(ordered[:-step] == ordered[step:])
        if not len(at):
            break
        found.append(np.stack([order[at], order[at + step]]))
    ones, others = np.concatenate(found, axis=1)
    return ones, others


def _shared(
    keys: NDArray[np.uint64], sizes: NDArray[np.int64], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many shingles each pair has in common: those of the first are looked up among the second's."""
    begins = np.cumsum(sizes) - sizes
    counts = sizes[ones]
    pair = np.repeat(np.arange(len(ones)), counts)
    at = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts) + begins[ones][pair]
    wanted = (keys[at] & np.uint64((1 << 40) - 1)) | (others[pair].astype(np.uint64) << np.uint64(40))
    return np.bincount(pair, weights=_among(wanted, keys), minlength=len(ones)).astype(np.int64)


def _among(values: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values)


def _chunks(pairs: NDArray[np.uint64], text_of: TextOf) -> Iterator[NDArray[np.uint64]]:
    """Pieces of the pairs whose texts together stay small."""
    begin = characters = 0
    for place, (one, other) in enumerate(zip(*_unpacked(pairs), strict=True)):
        characters += len(text_of(int(one))) + len(text_of(int(other)))
        if characters >= _CHUNK_CHARACTERS:
            yield pairs[begin : place + 1]
            begin, characters = place + 1, 0
    if begin < len(pairs):
        yield pairs[begin:]


def packed(ones: Positions, others: Positions) -> NDArray[np.uint64]:
    """Each pair of positions as one number, the lower position in its upper half."""
    low, high = np.minimum(ones, others), np.maximum(ones, others)
    return (low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64)


def _unpacked(pairs: NDArray[np.uint64]) -> Pairs:
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
