import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneward.digests import (
    MerkleTree,
    canonical_json,
    digest_file,
    digest_value,
    is_digest,
    leaf_hash,
    merkle_path,
    merkle_root,
    root_of_path,
)

# Reference leaves and roots of RFC 6962 (RFC 9162 keeps the tree), from certificate-transparency's own tests.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest(text):
    assert is_digest(digest_value({}))
    assert not is_digest(text)


@pytest.mark.parametrize("size", range(9))
def test_merkle_root_equals_the_reference_vectors(size):
    assert merkle_root(LEAVES[:size]) == ROOTS[size]


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:split]) + recursive_root(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_merkle_root_equals_the_definition(leaves):
    assert merkle_root(leaves) == recursive_root(leaves).hex()


@given(st.lists(st.binary(max_size=4), max_size=40), st.lists(st.binary(max_size=4), max_size=40))
def test_a_tree_put_away_grows_on(first, second):
    tree = MerkleTree()
    for leaf in first:
        tree.append(leaf)
    again = MerkleTree(tree.peaks)
    assert (again.size, again.root) == (len(first), tree.root)
    for leaf in second:
        again.append_hash(leaf_hash(leaf))
    assert (again.size, again.root) == (len(first + second), merkle_root(first + second))


def test_canonical_json_equals_rfc_8785_for_our_values():
    # RFC 8785, section 3.2.3 (sorting) and 3.2.2, as far as keys lie in the basic multilingual plane
    value = {"€": "Euro Sign", "\r": "Carriage Return", "1": "One", "\u0080": "Control", "ö": "o", "\ufb33": "Dalet"}
    assert list(json.loads(canonical_json(value))) == ["\r", "1", "\u0080", "ö", "€", "\ufb33"]
    assert canonical_json({"b": [1, 0.5, True, None], "a": '"\\\n\u001fé'}) == (
        '{"a":"\\"\\\\\\n\\u001fé","b":[1,0.5,true,null]}'.encode()
    )


def test_canonical_json_has_no_nan():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            canonical_json({"loss": value})


@given(st.dictionaries(st.text(max_size=5), st.integers()))
def test_order_of_keys_does_not_matter(value):
    assert digest_value(value) == digest_value(dict(reversed(value.items())))


def test_digest_of_a_file(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert digest_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("heights", [(0, 0), (0, 1), (2, 1, 1), (-1,), (64,)])
def test_peaks_of_no_tree_are_refused(heights):
    with pytest.raises(ValueError, match="heights"):
        MerkleTree([(height, "00" * 32) for height in heights])


def rfc_path(leaves, index):
    """RFC 9162, section 2.1.3.1, word by word."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*rfc_path(leaves[:split], index), merkle_root(leaves[split:])]
    return [*rfc_path(leaves[split:], index - split), merkle_root(leaves[:split])]


@pytest.mark.parametrize("size", [*range(1, 18), 31, 32, 33, 100])
def test_inclusion_proofs_are_those_of_the_rfc_and_lead_to_the_root(size):
    leaves = [bytes([number]) for number in range(size)]
    for index in range(size):
        path = merkle_path(leaves, index)
        assert path == rfc_path(leaves, index)
        assert root_of_path(leaves[index], index=index, size=size, path=path) == merkle_root(leaves)


def test_a_wrong_proof_leads_elsewhere():
    leaves = [bytes([number]) for number in range(11)]
    root, path = merkle_root(leaves), merkle_path(leaves, 6)
    assert root_of_path(b"x", index=6, size=11, path=path) != root
    assert root_of_path(leaves[6], index=7, size=11, path=path) != root
    assert root_of_path(leaves[6], index=6, size=11, path=path[:-1]) is None
    assert root_of_path(leaves[6], index=6, size=11, path=[*path, path[0]]) is None
    assert root_of_path(leaves[6], index=11, size=11, path=path) is None
    for place in range(len(path)):
        changed = [*path[:place], "00" * 32, *path[place + 1 :]]
        assert root_of_path(leaves[6], index=6, size=11, path=changed) != root
    with pytest.raises(IndexError):
        merkle_path(leaves, 11)
