"""Row digests: what makes two rows the same, ask the same, or contradict one another, as sixteen bytes each.

Place on the road: beneath ``data.overlap``. Equality is that of the normal form. Kept of a row are three digests, in
arrays that are sorted where a dictionary would take ten times the memory.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.data.rows import Positions
from tuneward.domain.record import Message, Record
from tuneward.inspection.normal_form import normal_form

SIZE: Final = 16


@dataclass(frozen=True)
class RowDigests:
    """Digests of one row; system messages do not count.

    Attributes:
        prompts: what was said before every answer; of a document its text, since what is tested must not be trained.
        whole: the whole row.
        claim: what the row claims.
        counter: the claim that contradicts it.
    """

    prompts: list[bytes]
    whole: bytes
    claim: bytes
    counter: bytes


def digests_of(record: Record) -> RowDigests:
    """The digests of one row."""
    state = hashlib.blake2b(digest_size=SIZE)
    if record.tools:
        state.update(b"tools " + record.tools.encode())
    prompts = []
    for message in record.messages:
        if message.role == "system":
            continue
        if message.role == "assistant":
            prompts.append(state.digest())
            before = state.copy()
        _add(state, message)
    whole = state.digest()
    if record.rejected:
        _add(before, record.rejected)
        other = before.digest()
        claim, counter = _folded(whole + b" over " + other), _folded(other + b" over " + whole)
        return RowDigests(prompts, claim, claim, counter)
    if record.desirable is not None:
        claim, counter = (_folded(whole + bytes([said])) for said in (record.desirable, not record.desirable))
        return RowDigests(prompts, claim, claim, counter)
    if not prompts:
        return RowDigests([whole], whole, whole, _folded(b"nothing contradicts a document"))
    return RowDigests(prompts, whole, prompts[-1], prompts[-1])


@dataclass
class DigestTable:
    """Whole, claim and counter of many rows, in order."""

    _wholes: bytearray = field(default_factory=bytearray)
    _claims: bytearray = field(default_factory=bytearray)
    _counters: bytearray = field(default_factory=bytearray)

    def add(self, row: RowDigests) -> None:
        """Take one more row."""
        self._wholes += row.whole
        self._claims += row.claim
        self._counters += row.counter

    def repeated(self) -> Positions:
        """For each row the first that is the same; its own place where none is."""
        return _firsts(_table(self._wholes))

    def contradicted(self, kept: Positions) -> Positions:
        """For each kept row the place among them of the first that claims what contradicts it.

        It is -1 where that row does not stand before it.
        """
        both = np.concatenate([_table(self._claims)[kept], _table(self._counters)[kept]])
        first = _firsts(both)[len(kept) :]  # claims stand first, so that whatever claims the counter is found there
        return np.where(first < np.arange(len(kept)), first, -1)


def _firsts(digests: NDArray[np.uint64]) -> Positions:
    """For each digest the place of the first that equals it."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: among equals the first comes first
    ordered = digests[order]
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return found


def _table(digests: bytearray) -> NDArray[np.uint64]:
    return np.frombuffer(bytes(digests), dtype=np.uint64).reshape(-1, 2)


def _add(state: "hashlib.blake2b", message: Message) -> None:
    text = normal_form(message.content).encode("utf-8", "surrogatepass")
    state.update(b"%s %d " % (message.role.encode(), len(text)) + text)
    if message.tool_calls:
        state.update(b"calls " + message.tool_calls.encode())


def _folded(words: bytes) -> bytes:
    return hashlib.blake2b(words, digest_size=SIZE).digest()
