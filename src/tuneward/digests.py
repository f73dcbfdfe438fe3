"""Digests and canonical bytes: the one way in which Tuneward turns a value into a name.

Place on the road: everywhere that something is stored, signed or logged. Knows neither files of ours nor keys' places.
"""

import hashlib
import hmac
import json
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


def keyed_digest(key: bytes, data: bytes) -> str:
    """HMAC-SHA-256, for what must not be guessed from its digest (subjects, rows, prompts)."""
    return hmac.new(key, data, hashlib.sha256).hexdigest()


def merkle_root(leaves: Iterable[bytes]) -> str:
    """Root of the RFC 9162 (section 2.1.1) Merkle tree over ``leaves``, in hex.

    Leaf hash ``H(0x00 || d)``, node hash ``H(0x01 || left || right)``, the empty tree ``H("")``. Keeps one hash per
    level, so memory is logarithmic in the number of leaves.
    """
    stack: list[tuple[int, bytes]] = []  # (height, hash) of complete subtrees, heights falling
    for leaf in leaves:
        height, node = 0, hashlib.sha256(b"\x00" + leaf).digest()
        while stack and stack[-1][0] == height:
            node = hashlib.sha256(b"\x01" + stack.pop()[1] + node).digest()
            height += 1
        stack.append((height, node))
    if not stack:
        return hashlib.sha256(b"").hexdigest()
    _, root = stack.pop()
    while stack:
        root = hashlib.sha256(b"\x01" + stack.pop()[1] + root).digest()
    return root.hex()
