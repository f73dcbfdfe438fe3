"""Signing: in-toto statements in DSSE envelopes, Ed25519.

Place on the road: the last act of ``register`` and the first of every check. Knows bytes and keys; not what a statement
says.

Strict when reading: one signature, the expected key, canonical JSON inside and outside, nothing besides. So each
statement has exactly one valid file per key, and no byte of it can change unseen. Sources: DSSE v1.0 protocol.md
(pre-authentication encoding), in-toto Statement v1, RFC 8032 (Ed25519).
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tuneward.digests import canonical_json
from tuneward.errors import Fault, ProofError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

#: No honest statement comes near; a larger file is refused unread.
MAX_BYTES = 1 << 20

_RESTORE = "restore the file from where it was published, or register the version again"


class Signer(Protocol):
    """Who signs: ``governance.keys.Keys``, or anything with a key and its id."""

    @property
    def signing(self) -> Ed25519PrivateKey:
        """The private key."""
        ...

    @property
    def key_id(self) -> str:
        """The id under which readers know the public key."""
        ...


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """PAE of DSSE v1: what is signed, so that type and payload cannot be confused."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(statement: Mapping[str, Any], signer: Signer) -> bytes:
    """Sign a statement; the envelope's bytes are returned.

    Ed25519 is deterministic: the same statement and key give the same bytes.
    """
    payload = canonical_json(statement)
    signature = signer.signing.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def open_envelope(
    envelope: bytes, public: Ed25519PublicKey, *, key_id: str | None = None, place: str = "statement"
) -> dict[str, Any]:
    """Check an envelope and return the statement inside.

    Args:
        envelope: the file's bytes.
        public: the key that must have signed.
        key_id: the id that the envelope must name, or None when the key alone decides.
        place: how to name the envelope in faults.

    Raises:
        ProofError: when anything at all is not as :func:`sign` makes it.
    """
    outer = _canonical_object(envelope, place, code="TW-PROOF-020")
    signatures = outer.get("signatures")
    if set(outer) != {"payload", "payloadType", "signatures"} or not isinstance(signatures, list):
        raise _fault("TW-PROOF-020", "no DSSE envelope", place)
    if len(signatures) != 1 or not isinstance(signatures[0], dict) or set(signatures[0]) != {"keyid", "sig"}:
        raise _fault("TW-PROOF-020", "must hold exactly one signature with key id", place)
    if outer["payloadType"] != PAYLOAD_TYPE:
        raise _fault("TW-PROOF-021", f"the payload is not of type {PAYLOAD_TYPE}", place)
    named = signatures[0]["keyid"]
    if key_id is not None and named != key_id:
        raise ProofError(
            Fault(
                "TW-PROOF-022",
                f"signed with key {str(named)[:80]!r}, expected {key_id!r}",
                place,
                "check with the public key of the site that registered the version",
            )
        )
    payload = _base64(outer["payload"], place)
    try:
        public.verify(_base64(signatures[0]["sig"], place), pre_authentication_encoding(PAYLOAD_TYPE, payload))
    except InvalidSignature:
        raise _fault("TW-PROOF-023", "the signature does not match the statement under this key", place) from None
    statement = _canonical_object(payload, place, code="TW-PROOF-024")
    if statement.get("_type") != STATEMENT_TYPE:
        raise _fault("TW-PROOF-024", f"the payload is no {STATEMENT_TYPE}", place)
    return statement


def _canonical_object(data: bytes, place: str, *, code: str) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise _fault(code, f"larger than {MAX_BYTES} bytes", place)
    try:
        value = json.loads(data)
        canonical = canonical_json(value)
    except (ValueError, RecursionError):
        raise _fault(code, "not JSON, or cut off", place) from None
    if not isinstance(value, dict) or canonical != data:
        raise _fault(code, "not in canonical form: some byte is not as it was written", place)
    return value


def _base64(text: Any, place: str) -> bytes:
    """Decode standard base64 of which there is only one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise _fault("TW-PROOF-020", "not base64", place) from None
    if base64.b64encode(data).decode() != text:
        raise _fault("TW-PROOF-020", "base64 is not in its one canonical spelling", place)
    return data


def _fault(code: str, message: str, place: str) -> ProofError:
    return ProofError(Fault(code, message, place, _RESTORE))
