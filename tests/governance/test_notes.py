import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tuneward.errors import ProofError
from tuneward.governance.keys import Keys
from tuneward.governance.notes import open_note, sign, verifier_key

# The example of Go's golang.org/x/mod/sumdb/note, the format's origin: key, text and signature line as printed there.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def test_key_hash_and_signature_form_equal_the_go_example():
    name, key_hash, encoded = GO_KEY.split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    data = base64.b64decode(GO_SIGNATURE)
    assert data[:4].hex() == key_hash
    assert hashlib.sha256(name.encode() + b"\n" + base64.b64decode(encoded)).digest()[:4].hex() == key_hash
    public.verify(data[4:], GO_TEXT.encode())


def test_form():
    keys = Keys(signing=Ed25519PrivateKey.from_private_bytes(bytes(range(32))), site_secret=bytes(32))
    note = sign("tuneward/site_1", 3, "ab" * 32, keys)
    text, signature = note.split("\n\n")
    assert text == f"tuneward/site_1\n3\n{base64.b64encode(bytes.fromhex('ab' * 32)).decode()}"
    assert signature.startswith("\u2014 tuneward/site_1 ")
    assert signature.endswith("\n")
    encoded = base64.b64decode(signature.split()[2])
    name, key_hash, key = verifier_key("site_1", keys.public).split("+", 2)
    assert (name, key_hash) == ("tuneward/site_1", encoded[:4].hex())
    assert base64.b64decode(key) == b"\x01" + keys.public.public_bytes_raw()
    keys.public.verify(encoded[4:], f"{text}\n".encode())
    assert open_note(note, "tuneward/site_1", keys.public) == (3, "ab" * 32)
    with pytest.raises(ProofError):
        open_note(note, "tuneward/site_2", keys.public)
