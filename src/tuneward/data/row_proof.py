"""Proof that one row is in a dataset, without showing the others: a path through the fingerprint's Merkle tree.

Place on the road: after ``prepare``; ``workflows/data`` makes proofs, and whoever holds one checks it offline with
:func:`check_row_proof`, which needs nothing but the proof and the fingerprint from a signed statement. The leaf is the
row's keyed digest: it shows nothing of the row, and that it is this row's can be said only by who holds the site's key.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tuneward.digests import merkle_path, root_of_path
from tuneward.errors import Fault, ProofError

FORMAT: Final = "tuneward-row-proof/1"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
#: Longest path: no tree of ours has more than 2^63 leaves.
_LONGEST: Final = 63


@dataclass(frozen=True)
class RowProof:
    """A row's place in a dataset's fingerprint (RFC 9162, section 2.1.3).

    Attributes:
        record: the record's id.
        dataset: the dataset's id.
        fingerprint: root of the tree.
        leaf: the row's keyed digest, in hex; its bytes are the leaf.
        index: 0-based place among the leaves, training rows first.
        size: number of leaves.
        path: hashes of the siblings, from the leaf's to the root's children, in hex.
    """

    record: str
    dataset: str
    fingerprint: str
    leaf: str
    index: int
    size: int
    path: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON values."""
        return {"format": FORMAT, **asdict(self), "path": list(self.path)}


def prove_row(record: str, *, dataset: str, fingerprint: str, digests: Sequence[str], index: int) -> RowProof:
    """Make the proof of one row.

    Args:
        record: its id.
        dataset: the dataset's id.
        fingerprint: the dataset's.
        digests: keyed digests of all rows, train first, each split in its order.
        index: which of them is the row's.
    """
    path = merkle_path((bytes.fromhex(digest) for digest in digests), index)
    return RowProof(record, dataset, fingerprint, digests[index], index, len(digests), tuple(path))


def check_row_proof(value: Any, *, fingerprint: str | None = None) -> RowProof:
    """Check a proof as it was read from JSON.

    Args:
        value: the proof.
        fingerprint: the one that is trusted, from a signed statement or an AIBOM; the proof's own when None, and then
            all that is shown is that the proof agrees with itself.

    Raises:
        ProofError: it is not of this form, does not lead to its fingerprint, or that is another one.
    """
    proof = _read(value)
    root = root_of_path(bytes.fromhex(proof.leaf), index=proof.index, size=proof.size, path=proof.path)
    if root != proof.fingerprint:
        raise _broken(proof.record, "the path does not lead from the row to the fingerprint")
    if fingerprint is not None and not _HEX.fullmatch(fingerprint):
        told = (
            f"the fingerprint to check against has {len(fingerprint)} characters; whole ones have 64, 0 to 9 and a to f"
        )
        cure = "take it whole from a signed statement; a beginning of one proves nothing"
        raise ProofError(Fault("TW-PROOF-014", told, "--fingerprint", cure))
    if fingerprint is not None and fingerprint != proof.fingerprint:
        raise _broken(proof.record, "it is a proof for another fingerprint")
    return proof


def _read(value: Any) -> RowProof:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _broken("", f"it is no {FORMAT}")
    texts = [value.get(name) for name in ("record", "dataset")]
    numbers, path = [value.get(name) for name in ("index", "size")], value.get("path")
    hashes = [value.get("fingerprint"), value.get("leaf"), *(path if isinstance(path, list) else [None])]
    if (
        not all(isinstance(text, str) and len(text) <= 100 for text in texts)
        or not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
        or len(hashes) > _LONGEST + 2
        or not all(isinstance(node, str) and _HEX.fullmatch(node) for node in hashes)
    ):
        raise _broken("", "a field is missing or not well formed")
    known = {name: value[name] for name in ("record", "dataset", "fingerprint", "leaf", "index", "size")}
    return RowProof(**known, path=tuple(hashes[2:]))


def _broken(record: str, message: str) -> ProofError:
    return ProofError(Fault("TW-PROOF-014", message, record, "ask for the proof again: `tuneward data prove`"))
