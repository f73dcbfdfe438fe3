"""Digests and canonical bytes: the one way in which Tuneward turns a value into a name.

Place on the road: everywhere that something is stored, signed or logged. Knows neither files of ours nor keys' places.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> bytes:
    """Encode a JSON value as canonical bytes: sorted keys, no spaces, UTF-8, no NaN.

    Equals RFC 8785 (JCS) for values made of strings, integers, booleans, null, lists, objects with keys from the basic
    multilingual plane, and floats whose shortest form Python and ECMAScript share; a test pairs the two.

    Raises:
        ValueError: for NaN and infinities, which have no JSON form.
    """
    return _CANONICAL.encode(value).encode()


def digest_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_value(value: Any) -> str:
    """SHA-256 over the canonical JSON of ``value``."""
    return digest_bytes(canonical_json(value))


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in chunks of 1 MiB."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_digest(text: str) -> bool:
    """Whether ``text`` is written as a SHA-256 of ours is."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def keyed_digest(key: bytes, data: bytes) -> str:
    """HMAC-SHA-256, for what must not be guessed from its digest (subjects, rows, prompts)."""
    return hmac.new(key, data, hashlib.sha256).hexdigest()


class MerkleTree:
    """The RFC 9162 (section 2.1.1) Merkle tree, grown leaf by leaf.

    Leaf hash ``H(0x00 || d)``, node hash ``H(0x01 || left || right)``, the empty tree ``H("")``. Keeps one hash per
    complete subtree, so memory is logarithmic in the number of leaves, and a tree can be put away and grown on.

    Attributes:
        size: number of leaves.

    Args:
        peaks: those of a tree that is grown on.

    Raises:
        ValueError: when these are the peaks of no tree.
    """

    def __init__(self, peaks: Iterable[tuple[int, str]] = ()) -> None:
        self._stack = [(height, bytes.fromhex(node)) for height, node in peaks]
        heights = [height for height, _ in self._stack]
        if heights != sorted(set(heights), reverse=True) or not all(0 <= height < 64 for height in heights):
            raise ValueError("heights of peaks fall from left to right")
        self.size = sum(1 << height for height, _ in self._stack)

    def append(self, leaf: bytes) -> None:
        """Add a leaf's data (not its hash)."""
        self.append_hash(leaf_hash(leaf))

    def append_hash(self, node: bytes) -> None:
        """Add a leaf by its hash."""
        height = 0
        while self._stack and self._stack[-1][0] == height:
            node = _node(self._stack.pop()[1], node)
            height += 1
        self._stack.append((height, node))
        self.size += 1

    @property
    def peaks(self) -> tuple[tuple[int, str], ...]:
        """Heights and hashes of the complete subtrees, left to right: ``MerkleTree(tree.peaks)`` is the same tree."""
        return tuple((height, node.hex()) for height, node in self._stack)

    @property
    def root(self) -> str:
        """The root, in hex."""
        if not self._stack:
            return hashlib.sha256(b"").hexdigest()
        root = self._stack[-1][1]
        for _, node in reversed(self._stack[:-1]):
            root = _node(node, root)
        return root.hex()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of a leaf of the Merkle tree: ``H(0x00 || leaf)``."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Root of the Merkle tree over ``leaves``, in hex (see :class:`MerkleTree`)."""
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root


def merkle_path(leaves: Iterable[bytes], index: int) -> list[str]:
    """Inclusion proof of one leaf (RFC 9162, section 2.1.3.1): hashes of the siblings, in hex, from the leaf upwards.

    Law: ``root_of_path(leaf, index=i, size=n, path=merkle_path(leaves, i)) == merkle_root(leaves)``.

    Raises:
        IndexError: there is no such leaf.
    """
    level = [leaf_hash(leaf) for leaf in leaves]
    if not 0 <= index < len(level):
        raise IndexError(index)
    path: list[str] = []
    while len(level) > 1:
        if (sibling := index ^ 1) < len(level):
            path.append(level[sibling].hex())
        paired = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]  # a last one without sibling goes up as it is
        index //= 2
    return path


def root_of_path(leaf: bytes, *, index: int, size: int, path: Iterable[str]) -> str | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2), in hex; None where its length is wrong.

    Args:
        leaf: the leaf's data (not its hash).
        index: its 0-based place.
        size: number of leaves.
        path: as :func:`merkle_path` gives it.
    """
    if not 0 <= index < size:
        return None
    at, last, root = index, size - 1, leaf_hash(leaf)
    for text in path:
        node = bytes.fromhex(text)
        if last == 0:
            return None
        if at % 2 or at == last:
            root = _node(node, root)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            root = _node(root, node)
        at, last = at // 2, last // 2
    return root.hex() if last == 0 else None


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
