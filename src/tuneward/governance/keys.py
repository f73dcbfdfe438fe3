"""Keys: the site's signing key and the secret behind every keyed digest.

Place on the road: made by ``init``; used by ``prepare`` (record ids, subject pseudonyms), ``register`` (signatures),
the log (checkpoints) and the gateway (API keys). Knows no database and no statement's form.

Files, readable by their owner only: ``signing.pem`` (Ed25519, PKCS 8), ``secret`` (32 bytes, hex) and, for outsiders,
``public.pem``. Destroying ``secret`` turns every pseudonym into noise.
"""

import hashlib
import secrets
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tuneward.errors import Fault, StorageError
from tuneward.storage.files import explained, fault_of, write_atomically

#: What a secret is for; one purpose's digests say nothing about another's.
Purpose = Literal["records", "subjects", "answers", "api-keys", "pseudonyms"]


@dataclass(frozen=True)
class Keys:
    """The keys of one site.

    Attributes:
        signing: signs statements and checkpoints.
        site_secret: 32 bytes; only :meth:`secret` uses it.
    """

    signing: Ed25519PrivateKey
    site_secret: bytes

    def __repr__(self) -> str:
        return f"Keys(key_id={self.key_id!r})"  # a traceback or log line must not show the secret

    @classmethod
    def create(cls, folder: Path) -> "Keys":
        """Make new keys in ``folder``; leftovers of an interrupted call are overwritten.

        Raises:
            StorageError: when keys are there already, or the folder cannot be written.
        """
        if (folder / "signing.pem").exists():
            raise StorageError(
                Fault(
                    "TW-GOV-013", "keys are there already", str(folder), "keep them: what they signed depends on them"
                )
            )
        keys = cls(signing=Ed25519PrivateKey.generate(), site_secret=secrets.token_bytes(32))
        private = keys.signing.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with explained(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        write_atomically(folder / "secret", keys.site_secret.hex().encode() + b"\n", mode=0o600)
        write_atomically(folder / "public.pem", keys.public_pem)
        write_atomically(folder / "signing.pem", private, mode=0o600)  # last: its presence says that all is there
        return keys

    @classmethod
    def open(cls, folder: Path) -> "Keys":
        """Read the keys in ``folder``.

        Raises:
            StorageError: when they are missing, damaged, or readable by others, or when ``public.pem`` is another
                key's: what outsiders check with would not be what signs; all faults at once.
        """
        private, secret = folder / "signing.pem", folder / "secret"
        faults = [fault for path in (private, secret) for fault in _file_faults(path)]
        if faults:
            raise StorageError(faults)
        with explained(folder):
            texts = {path: path.read_bytes() for path in (private, secret)}
        try:
            signing = serialization.load_pem_private_key(texts[private], password=None)
        except (ValueError, TypeError):
            signing = None
        try:
            site_secret = bytes.fromhex(texts[secret].decode("ascii"))
        except ValueError:
            site_secret = b""
        if not isinstance(signing, Ed25519PrivateKey):
            faults.append(_damaged(private, "not an Ed25519 key in PEM"))
        if len(site_secret) != 32:
            faults.append(_damaged(secret, "not 32 bytes in hex"))
        if faults or not isinstance(signing, Ed25519PrivateKey):
            raise StorageError(faults)
        keys = cls(signing=signing, site_secret=site_secret)
        if fault := _public_fault(folder / "public.pem", keys.public):
            raise StorageError(fault)
        return keys

    @property
    def public(self) -> Ed25519PublicKey:
        """What checks our signatures."""
        return self.signing.public_key()

    @property
    def public_pem(self) -> bytes:
        """The public key as outsiders take it (SubjectPublicKeyInfo, PEM)."""
        return self.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """SHA-256 over the 32 raw bytes of the public key, in hex: the ``keyid`` of our statements."""
        return hashlib.sha256(self.public.public_bytes_raw()).hexdigest()

    def secret(self, purpose: Purpose) -> bytes:
        """A key of 32 bytes for one purpose: HKDF-SHA-256 (RFC 5869) from the site's secret."""
        info = f"tuneward/{purpose}".encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self.site_secret)


def _file_faults(path: Path) -> list[Fault]:
    try:
        status = path.stat()
    except FileNotFoundError:
        away = shlex.quote(str(path.parent.parent))
        cure = f"restore it from a backup; without one, move {away} away and run `tuneward init`"
        return [Fault("TW-GOV-010", "is missing", str(path), cure)]
    except OSError as error:
        return [Fault("TW-STOR-012", error.strerror or str(error), str(path), "check the path and its permissions")]
    if stat.S_IMODE(status.st_mode) & 0o077:
        return [Fault("TW-GOV-011", "others can read it", str(path), f"chmod 600 {shlex.quote(str(path))}")]
    return []


def _public_fault(path: Path, public: Ed25519PublicKey) -> Fault | None:
    """What is wrong with the file for outsiders; it can always be made again from the signing key."""
    again = f"openssl pkey -in {shlex.quote(str(path.with_name('signing.pem')))} -pubout -out {shlex.quote(str(path))}"
    try:
        stated = serialization.load_pem_public_key(path.read_bytes())
    except FileNotFoundError:
        return Fault("TW-GOV-010", "is missing", str(path), again)
    except OSError as error:
        return fault_of(error, path)
    except (ValueError, UnsupportedAlgorithm):
        return Fault("TW-GOV-012", "not a public key in PEM", str(path), again)
    if isinstance(stated, Ed25519PublicKey) and stated.public_bytes_raw() == public.public_bytes_raw():
        return None
    cure = f"find out which of the two was replaced; where signing.pem is the site's own: {again}"
    return Fault("TW-GOV-016", "is not the public half of signing.pem", str(path), cure)


def _damaged(path: Path, why: str) -> Fault:
    return Fault("TW-GOV-012", why, str(path), "restore it from a backup")
