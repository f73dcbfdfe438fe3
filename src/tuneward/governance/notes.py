"""Notes: a checkpoint of the log as a signed text that anybody can check.

Place on the road: ``governance.audit`` signs and opens them; auditors keep copies. C2SP ``tlog-checkpoint`` inside
C2SP ``signed-note``, Ed25519 (signature type 0x01). Knows no event and no database.
"""

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tuneward.errors import Fault, ProofError
from tuneward.governance.keys import Keys

_ED25519 = b"\x01"


def origin(site_id: str) -> str:
    """The log's name in its checkpoints."""
    return f"tuneward/{site_id}"


def verifier_key(site_id: str, public: Ed25519PublicKey) -> str:
    """The public key as C2SP ``signed-note`` verifiers take it: ``name+hash+base64(type || key)``."""
    raw = _ED25519 + public.public_bytes_raw()
    return f"{origin(site_id)}+{_key_hash(origin(site_id), public).hex()}+{base64.b64encode(raw).decode()}"


def sign(name: str, size: int, root: str, keys: Keys) -> str:
    """A checkpoint as signed note: origin, size, root; an empty line; ``— name base64(key hash || signature)``."""
    text = f"{name}\n{size}\n{base64.b64encode(bytes.fromhex(root)).decode()}\n"
    signature = _key_hash(name, keys.public) + keys.signing.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def open_note(note: str, name: str, public: Ed25519PublicKey) -> tuple[int, str]:
    """Size and root of a checkpoint whose form and signature are right; signatures of others are passed over.

    Raises:
        ProofError: when it is not of this form, of another log, or not signed by this key.
    """
    try:
        text, signatures = note.split("\n\n")
        stated, size, root = text.split("\n")
        if stated != name or str(int(size)) != size or not signatures.endswith("\n"):
            raise ValueError
        digest = base64.b64decode(root, validate=True)
        for line in signatures.removesuffix("\n").split("\n"):
            dash, signer, encoded = line.split(" ")
            data = base64.b64decode(encoded, validate=True)
            if dash == "\u2014" and signer == name and data[:4] == _key_hash(name, public):
                public.verify(data[4:], f"{text}\n".encode())
                if len(digest) == 32:
                    return int(size), digest.hex()
    except (ValueError, InvalidSignature):
        pass
    raise ProofError(
        Fault(
            "TW-PROOF-006",
            "form or signature is wrong",
            name,
            "compare it with a copy kept elsewhere, and find out who wrote it",
        )
    )


def _key_hash(name: str, public: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public.public_bytes_raw()).digest()[:4]
