import shlex
import shutil
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from tuneward.errors import StorageError
from tuneward.governance.keys import Keys


def test_what_is_opened_is_what_was_created(tmp_path):
    made = Keys.create(tmp_path / "keys")
    again = Keys.open(tmp_path / "keys")
    assert again.key_id == made.key_id
    assert again.secret("records") == made.secret("records")
    assert (tmp_path / "keys" / "public.pem").read_bytes() == made.public_pem
    public = load_pem_public_key(made.public_pem)
    public.verify(again.signing.sign(b"x"), b"x")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "keys").iterdir()}
    assert modes == {"signing.pem": 0o600, "secret": 0o600, "public.pem": 0o644}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_each_purpose_has_a_key_of_its_own(tmp_path):
    keys = Keys.create(tmp_path)
    purposes = ("records", "subjects", "answers", "api-keys")
    assert len({keys.secret(purpose) for purpose in purposes}) == 4
    assert {len(keys.secret(purpose)) for purpose in purposes} == {32}
    assert keys.site_secret.hex() not in repr(keys)


def test_secret_is_hkdf_sha_256(tmp_path):
    # RFC 5869, section 2 with one block: T(1) = HMAC(HMAC(zeros, secret), info || 0x01)
    import hashlib
    import hmac

    keys = Keys.create(tmp_path)
    extracted = hmac.digest(b"\x00" * 32, keys.site_secret, hashlib.sha256)
    assert keys.secret("records") == hmac.digest(extracted, b"tuneward/records\x01", hashlib.sha256)


def test_keys_are_not_overwritten(tmp_path):
    made = Keys.create(tmp_path)
    with pytest.raises(StorageError, match="TW-GOV-013"):
        Keys.create(tmp_path)
    assert Keys.open(tmp_path).key_id == made.key_id


def test_an_interrupted_creation_is_made_again(tmp_path):
    Keys.create(tmp_path)
    (tmp_path / "signing.pem").unlink()
    assert Keys.create(tmp_path).key_id == Keys.open(tmp_path).key_id


def test_all_faults_at_once(tmp_path):
    with pytest.raises(StorageError) as caught:
        Keys.open(tmp_path)
    assert [fault.code for fault in caught.value.faults] == ["TW-GOV-010", "TW-GOV-010"]
    Keys.create(tmp_path)
    for name in ("signing.pem", "secret"):
        (tmp_path / name).write_bytes(b"\xff nonsense")
    with pytest.raises(StorageError) as caught:
        Keys.open(tmp_path)
    assert [fault.code for fault in caught.value.faults] == ["TW-GOV-012", "TW-GOV-012"]
    assert "nonsense" not in str(caught.value)


def test_keys_that_others_can_read_are_refused(tmp_path):
    Keys.create(tmp_path)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(StorageError) as caught:
        Keys.open(tmp_path)
    (fault,) = caught.value.faults
    assert (fault.code, fault.cure) == ("TW-GOV-011", f"chmod 600 {tmp_path / 'secret'}")


def test_a_public_key_of_another_pair_is_refused(tmp_path):
    Keys.create(tmp_path / "keys")
    other = Keys.create(tmp_path / "other")
    public = tmp_path / "keys" / "public.pem"
    for stated, code in (
        (other.public_pem, "TW-GOV-016"),
        (
            Ed448PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "TW-GOV-016",
        ),
        (b"nonsense", "TW-GOV-012"),
        (None, "TW-GOV-010"),
    ):
        public.unlink()
        if stated is not None:
            public.write_bytes(stated)
        with pytest.raises(StorageError) as caught:
            Keys.open(tmp_path / "keys")
        (fault,) = caught.value.faults
        assert (fault.code, fault.place) == (code, str(public))
        public.touch()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_cure_of_a_lost_public_key_brings_the_same_back(tmp_path):
    made = Keys.create(tmp_path)
    (tmp_path / "public.pem").unlink()
    with pytest.raises(StorageError) as caught:
        Keys.open(tmp_path)
    subprocess.run(shlex.split(caught.value.faults[0].cure), check=True)
    assert Keys.open(tmp_path).public_pem == made.public_pem
