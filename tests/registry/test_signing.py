import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from registry_nouns import KEYS, OTHER_KEYS

from tuneward.digests import canonical_json
from tuneward.errors import ProofError
from tuneward.registry.signing import (
    MAX_BYTES,
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    open_envelope,
    pre_authentication_encoding,
    sign,
)

STATEMENT = {"_type": STATEMENT_TYPE, "subject": [], "predicate": {"ä": 1}}


def code(envelope: bytes, **more: Any) -> str:
    with pytest.raises(ProofError) as error:
        open_envelope(envelope, more.pop("public", KEYS.public), key_id=KEYS.key_id, **more)
    (fault,) = error.value.faults
    assert fault.cure
    return fault.code


def changed(**fields: Any) -> bytes:
    return canonical_json(json.loads(sign(STATEMENT, KEYS)) | fields)


def test_pre_authentication_encoding_of_the_dsse_specification() -> None:
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("é", b"\x00 ") == b"DSSEv1 2 \xc3\xa9 2 \x00 "


def test_ed25519_of_rfc_8032() -> None:
    """Section 7.1, test 1: the key library signs as the standard says, so outsiders can check with theirs."""
    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")


def test_round_trip_is_deterministic() -> None:
    envelope = sign(STATEMENT, KEYS)
    assert open_envelope(envelope, KEYS.public, key_id=KEYS.key_id) == STATEMENT
    assert open_envelope(envelope, KEYS.public) == STATEMENT
    assert sign(STATEMENT, KEYS) == envelope
    assert json.loads(envelope)["payloadType"] == PAYLOAD_TYPE


def test_every_byte_counts() -> None:
    envelope = sign(STATEMENT, KEYS)
    for place in range(len(envelope)):
        for flip in (1, 0x20):
            broken = bytearray(envelope)
            broken[place] ^= flip
            code(bytes(broken))


def test_every_truncation_and_addition_is_refused() -> None:
    envelope = sign(STATEMENT, KEYS)
    for length in range(len(envelope)):
        code(envelope[:length])
    for more in (b"\n", b" ", b"{}", b"\x00"):
        assert code(envelope + more) == "TW-PROOF-020"
    assert code(b" " * (MAX_BYTES + 1)) == "TW-PROOF-020"
    assert code(b"[" * 100_000) == "TW-PROOF-020"


def test_other_key() -> None:
    assert code(sign(STATEMENT, OTHER_KEYS)) == "TW-PROOF-022"
    forged = json.loads(sign(STATEMENT, OTHER_KEYS))
    forged["signatures"][0]["keyid"] = KEYS.key_id
    assert code(canonical_json(forged)) == "TW-PROOF-023"
    assert code(sign(STATEMENT, KEYS), public=OTHER_KEYS.public) == "TW-PROOF-023"


def test_payload_type_is_signed_and_fixed() -> None:
    assert code(changed(payloadType="application/json")) == "TW-PROOF-021"
    payload = canonical_json(STATEMENT)
    other = KEYS.signing.sign(pre_authentication_encoding("application/json", payload))
    assert code(changed(signatures=[{"keyid": KEYS.key_id, "sig": base64.b64encode(other).decode()}])) == "TW-PROOF-023"
    bare = KEYS.signing.sign(payload)
    assert code(changed(signatures=[{"keyid": KEYS.key_id, "sig": base64.b64encode(bare).decode()}])) == "TW-PROOF-023"


def test_shape_is_strict() -> None:
    signature = json.loads(sign(STATEMENT, KEYS))["signatures"][0]
    for fields in (
        {"signatures": []},
        {"signatures": [signature, signature]},
        {"signatures": [signature | {"cert": ""}]},
        {"signatures": {}},
        {"signatures": ["x"]},
        {"extra": 1},
        {"payload": 7},
        {"payload": "****"},
        {"signatures": [signature | {"sig": signature["sig"].rstrip("=")}]},
        {"signatures": [signature | {"sig": None}]},
    ):
        assert code(changed(**fields)) == "TW-PROOF-020"
    pretty = json.dumps(json.loads(sign(STATEMENT, KEYS)), indent=1).encode()
    assert code(pretty) == "TW-PROOF-020"
    assert code(b"[]") == "TW-PROOF-020"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(STATEMENT).encode(),
        b"[]",
        b"no json",
        canonical_json({"_type": "https://in-toto.io/Statement/v0.1"}),
        b'{"_type":"https://in-toto.io/Statement/v1","_type":"https://in-toto.io/Statement/v1"}',
        b'{"_type":"https://in-toto.io/Statement/v1","a":NaN}',
        b"\xff",
    ],
)
def test_signed_payload_must_be_a_canonical_statement(payload: bytes) -> None:
    signature = KEYS.signing.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    envelope = canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": KEYS.key_id, "sig": base64.b64encode(signature).decode()}],
        }
    )
    assert code(envelope) == "TW-PROOF-024"
