"""Artifacts: files and folders kept under the digest of their bytes.

Place on the road: bases, datasets, adapters, reports and papers live here; rows and statements name them by digest.
Knows nothing of what the bytes mean.

Layout: ``blobs/ab/<sha256>`` (bytes, read-only), ``manifests/ab/<digest>`` (canonical JSON: relative path → digest and
bytes; the tree's digest is the SHA-256 of exactly this), ``trees/<digest>/`` (the tree as a folder to be read in place:
hard links to the blobs, or copies where the file system has none), ``stamps/<digest>`` (file status of a tree when it
was last hashed) and ``tmp/`` (writes in progress; what a killed process left is swept at the next start).

A hard link shares its bytes with the blob, so tampering with one tampers with both: :meth:`Artifacts.check` re-hashes
either way. Nothing is visible under its digest before all of its bytes are on the disk.
"""

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from tuneward.digests import canonical_json, digest_bytes, digest_file, is_digest
from tuneward.errors import Fault, ProofError, StorageError
from tuneward.storage.files import copy_hashing, explained, files_under, flush, flush_folder, is_plain, names_under
from tuneward.storage.staging import staging, sweep, sweep_files
from tuneward.storage.stamps import Stamp, read_stamps, write_stamps

_UNREADABLE = "cannot be read"


class Artifacts:
    """The artefact store in one folder.

    Args:
        folder: made when it is not there.
        writable: False where nothing can be written: nothing is made and nothing swept.

    Raises:
        StorageError: when the folder cannot be made.
    """

    def __init__(self, folder: Path, *, writable: bool = True) -> None:
        self.folder = folder
        if not writable:
            return
        with explained(folder):
            for name in ("blobs", "manifests", "trees", "stamps", "tmp"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            sweep(self.folder / "tmp")
            sweep_files(self.folder / "stamps")

    @property
    def trees_folder(self) -> Path:
        """Where trees lie materialised; every adapter that an engine may load is below it."""
        return self.folder / "trees"

    def put_bytes(self, data: bytes) -> str:
        """Store bytes; the digest that names them is returned.

        Raises:
            StorageError: when the disk is full or cannot be written; nothing is left behind.
        """
        with staging(self.folder / "tmp") as work:
            staged, digest = work / "data", digest_bytes(data)
            with staged.open("xb") as handle:
                handle.write(data)
                flush(handle)
            self._install(staged, self._blob(digest), digest)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes; the digest that names them is returned.

        Raises:
            StorageError: when the file is missing or a symbolic link, or the disk is full; nothing is left behind.
        """
        with staging(self.folder / "tmp") as work:
            digest, _ = copy_hashing(path, work / "data")
            self._install(work / "data", self._blob(digest), digest)
        return digest

    def put_tree(self, folder: Path) -> str:
        """Store every file under ``folder`` (empty folders are not kept); the digest of its manifest is returned.

        Raises:
            StorageError: when the folder is missing, empty or holds links or special files, or the disk is full;
                nothing is left behind.
        """
        with staging(self.folder / "tmp") as work:
            manifest: dict[str, dict[str, Any]] = {}
            for number, (name, path) in enumerate(files_under(folder)):
                digest, size = copy_hashing(path, work / str(number))
                manifest[name] = {"digest": digest, "bytes": size}
            text = canonical_json(manifest)
            tree = digest_bytes(text)
            with (work / "manifest").open("xb") as handle:
                handle.write(text)
                flush(handle)
            for number, entry in enumerate(manifest.values()):
                self._install(work / str(number), self._blob(entry["digest"]), entry["digest"])
            self._install(work / "manifest", self._manifest(tree), tree)
            if self._tree(tree).exists() and self._folder_faults(tree, manifest, trust_stamps=False):
                shutil.rmtree(self._tree(tree))  # whoever stores a damaged tree again heals it
        return tree

    def read(self, digest: str) -> bytes:
        """The bytes of a blob, checked against the digest.

        Raises:
            StorageError: when it is not in the store.
            ProofError: when its bytes were changed.
        """
        path = self.path(digest)
        with explained(path):
            data = path.read_bytes()
        if digest_bytes(data) != digest:
            raise ProofError(_changed(digest))
        return data

    def path(self, digest: str) -> Path:
        """Where a blob lies, to be read only; its bytes are not hashed (see :meth:`check`).

        Raises:
            StorageError: when it is not in the store.
        """
        path = self._blob(digest)
        if not path.is_file():
            raise StorageError(_missing(digest))
        return path

    def has(self, digest: str) -> bool:
        """Whether a blob or tree of this digest is in the store; says nothing about its bytes."""
        return self._blob(digest).is_file() or self._manifest(digest).is_file()

    def manifest(self, digest: str) -> dict[str, dict[str, Any]]:
        """Relative path → ``{"digest": …, "bytes": …}`` of a tree, checked against the digest.

        Raises:
            StorageError: when the tree is not in the store, or a path in it would leave its folder.
            ProofError: when the manifest was changed.
        """
        path = self._manifest(digest)
        if not path.is_file():
            raise StorageError(_missing(digest))
        with explained(path):
            text = path.read_bytes()
        if digest_bytes(text) != digest:
            raise ProofError(_changed(digest, "manifest"))
        # equal digests: this is canonical JSON that put_tree, here or elsewhere, wrote; the paths are still checked
        return _parse_manifest(text, digest)

    def tree(self, digest: str) -> Path:
        """A tree as a folder of read-only files, made from the blobs when it is not there or incomplete.

        Files whose status (size, times, inode) is the one of the last hashing are not hashed again; all others are.

        Raises:
            StorageError: when the tree or one of its blobs is not in the store, or the disk is full.
            ProofError: when a file was changed or added.
        """
        manifest, folder = self.manifest(digest), self._tree(digest)
        with explained(folder):
            if folder.exists():
                faults = self._folder_faults(digest, manifest, trust_stamps=True)
                unread = {name: what for name, what in faults.items() if what.startswith(_UNREADABLE)}
                if unread:
                    cure = "check the disk and the permissions"
                    raise StorageError(Fault("TW-STOR-012", w, str(folder / n), cure) for n, w in unread.items())
                wrong = [f"{name}: {what}" for name, what in faults.items() if what != "missing"]
                if wrong:
                    raise ProofError(_changed(digest, name) for name in wrong)
                if not faults:
                    return folder
                shutil.rmtree(folder)
            self._materialise(digest, manifest)
        return folder

    def check(self, digest: str) -> list[str]:
        """Re-hash a blob, or every file of a tree in the store and in its folder.

        Returns:
            one line for everything that is missing, changed, extra or cannot be read, by name; empty when all is as it
            was stored.
        """
        _checked(digest)
        try:
            if not self._manifest(digest).is_file():
                return [f"{digest}: {what}" for what in [self._blob_fault(digest)] if what]
            manifest = self.manifest(digest)
        except (ProofError, StorageError) as error:
            return [f"manifest: {fault.message}" for fault in error.faults]
        except OSError as error:
            return [f"manifest: {_unreadable(error)}"]
        found = [
            f"{name}: {what} in the store"
            for name, entry in manifest.items()
            if (what := self._blob_fault(entry["digest"]))
        ]
        try:
            faults = {}
            if self._tree(digest).exists():
                faults = self._folder_faults(digest, manifest, trust_stamps=False)
        except OSError as error:
            faults = {"": _unreadable(error)}
        return found + [f"{name or digest}: {what} in the folder" for name, what in faults.items()]

    def _blob_fault(self, digest: str) -> str | None:
        path = self._blob(digest)
        try:
            if not path.is_file():
                return "missing"
            return None if digest_file(path) == digest else "changed"
        except OSError as error:
            return _unreadable(error)

    def _folder_faults(self, digest: str, manifest: dict[str, dict[str, Any]], *, trust_stamps: bool) -> dict[str, str]:
        """Name → ``missing``, ``changed``, ``extra`` or why a file of the materialised folder cannot be read.

        Stamps what it found well.

        Raises:
            OSError: when the folder cannot be listed.
        """
        folder, stamps_path = self._tree(digest), self.folder / "stamps" / digest
        known = read_stamps(stamps_path) if trust_stamps else {}
        faults, stamps = dict[str, str](), dict[str, Stamp]()
        for name, entry in manifest.items():
            path = folder / name
            try:
                status = path.lstat()
                stamps[name] = Stamp.of(status)
                regular = stat.S_ISREG(status.st_mode) and status.st_size == entry["bytes"]
                if not regular or (known.get(name) != stamps[name] and digest_file(path) != entry["digest"]):
                    faults[name] = "changed"
            except (FileNotFoundError, NotADirectoryError):
                faults[name] = "missing"
            except OSError as error:
                faults[name] = _unreadable(error)
        for name in names_under(folder):
            if name not in manifest:
                faults[name] = "extra"
        if not faults and stamps != known:
            write_stamps(stamps_path, stamps)
        return faults

    def _materialise(self, digest: str, manifest: dict[str, dict[str, Any]]) -> None:
        stamps = dict[str, Stamp]()
        with staging(self.folder / "tmp") as work:
            folder = work / "tree"
            for name, entry in manifest.items():
                blob, target = self.path(entry["digest"]), folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(blob, target)
                except OSError as error:
                    if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}:
                        raise
                    copy_hashing(blob, target)
                    target.chmod(0o444)
            for name, entry in manifest.items():  # all links are made: each moves the times of its blob's other names
                stamps[name] = Stamp.of((folder / name).lstat())  # before hashing: a write in between shows
                if digest_file(folder / name) != entry["digest"]:
                    raise ProofError(_changed(digest, name))
            try:
                folder.rename(self._tree(digest))
                write_stamps(self.folder / "stamps" / digest, stamps)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise  # another process was faster; its folder is the same
            flush_folder(self.folder / "trees")

    def _install(self, staged: Path, target: Path, digest: str) -> None:
        """Move a staged file to its place, unless it is there already with the right bytes."""
        if target.is_file() and digest_file(target) == digest:
            return
        if not target.parent.exists():
            target.parent.mkdir(exist_ok=True)
            flush_folder(target.parent.parent)
        staged.chmod(0o444)
        staged.replace(target)
        flush_folder(target.parent)

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / _checked(digest)[:2] / digest

    def _manifest(self, digest: str) -> Path:
        return self.folder / "manifests" / _checked(digest)[:2] / digest

    def _tree(self, digest: str) -> Path:
        return self.folder / "trees" / _checked(digest)


def _checked(digest: str) -> str:
    if not isinstance(digest, str) or not is_digest(digest):
        raise StorageError(Fault("TW-STOR-010", f"{digest!r} is not a digest", cure="give 64 lower-case hex digits"))
    return digest


def _parse_manifest(text: bytes, digest: str) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads(text)
        sound = isinstance(manifest, dict) and all(
            is_plain(name) and is_digest(entry["digest"]) and isinstance(entry["bytes"], int)
            for name, entry in manifest.items()
        )
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise StorageError(Fault("TW-STOR-011", "not the manifest of a tree", digest, "store the folder again"))
    return dict(manifest)


def _unreadable(error: OSError) -> str:
    return f"{_UNREADABLE} ({error.strerror or type(error).__name__})"


def _missing(digest: str) -> Fault:
    return Fault("TW-STOR-009", "is not in the artefact store", digest, "run the step that makes it again")


def _changed(digest: str, what: str = "its bytes") -> Fault:
    return Fault("TW-PROOF-001", f"{what}: not as it was stored", digest, "do not use it; restore it or make it again")
