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


def canonical_json(value: Any) -> bytes:
    """Encode a JSON value as canonical bytes: sorted keys, no spaces, UTF-8, no NaN.

    Equals RFC 8785 (JCS) for values made of strings, integers, booleans, null, lists, objects with keys from the basic
    multilingual plane, and floats whose shortest form Python and ECMAScript share; a test pairs the two.

    Raises:
        ValueError: for NaN and infinities, which have no JSON form.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


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
            node = hashlib.sha256(b"\x01" + self._stack.pop()[1] + node).digest()
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
            root = hashlib.sha256(b"\x01" + node + root).digest()
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
