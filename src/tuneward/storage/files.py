"""Files: writing that survives a power cut or fails without a trace, and errors that say what to do.

Place on the road: under ``storage.artifacts``, ``storage.site`` and ``governance``. Knows paths and bytes only.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tuneward.errors import Fault, StorageError

_CHUNK_BYTES = 1 << 20


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours.

    Raises:
        StorageError: in place of any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(fault_of(error, place)) from error


def fault_of(error: OSError, place: Path | str = "") -> Fault:
    """The fault that an error of the operating system is; ``place`` where the error names no file."""
    where = str(error.filename or place)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Fault("TW-STOR-007", "nothing was written: no space left", where, "free some space and try again")
    return Fault("TW-STOR-012", error.strerror or type(error).__name__, where, "check the path and its permissions")


def read_only(place: Path | str) -> Fault:
    """The fault of whoever would write to a site that can only be read."""
    cure = "copy the project to where it can be written, or give yourself the right (chmod u+w), and do it there"
    return Fault("TW-STOR-015", "this site can only be read", str(place), cure)


def flush(handle: IO[bytes]) -> None:
    """Bring a file's bytes to the disk."""
    handle.flush()
    os.fsync(handle.fileno())


def flush_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, whatever happens in between.

    Raises:
        StorageError: when the disk is full or the place cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # known to staging.sweep_files
    with explained(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
            with os.fdopen(descriptor, "wb") as handle:
                os.fchmod(handle.fileno(), mode)
                handle.write(data)
                flush(handle)
            temporary.replace(path)
            flush_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def copy_hashing(source: Path, target: Path) -> tuple[str, int]:
    """Copy a regular file into a new one, flushed; its SHA-256 and number of bytes are those that were written.

    Raises:
        StorageError: when the source is a symbolic link or no regular file.
    """
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(refused(source, "is a symbolic link")) from None
        raise
    with os.fdopen(descriptor, "rb") as reader:
        if not stat.S_ISREG(os.fstat(reader.fileno()).st_mode):
            raise StorageError(refused(source, "is no regular file"))
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                writer.write(chunk)
            flush(writer)
    return digest.hexdigest(), size


def files_under(folder: Path) -> list[tuple[str, Path]]:
    """Every file under a folder with its relative POSIX path, sorted; links and special files are refused.

    Raises:
        StorageError: naming all that cannot be stored, or that there is nothing.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise StorageError(refused(folder, "is not a folder"))
    found: list[tuple[str, Path]] = []
    faults: list[Fault] = []
    for name in sorted(names_under(folder)):
        path = folder / name
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            faults.append(refused(path, "is a symbolic link"))
        elif stat.S_ISREG(mode):
            if not is_plain(name):
                faults.append(refused(path, "has a name that is no plain UTF-8 path"))
            found.append((name, path))
        else:
            faults.append(refused(path, "is no regular file"))
    if not found and not faults:
        faults.append(refused(folder, "holds no file"))
    if faults:
        raise StorageError(faults)
    return found


def names_under(folder: Path) -> Iterator[str]:
    """Relative POSIX paths of everything under a folder that is no folder itself; a link is named, not followed.

    Raises:
        OSError: when a folder inside cannot be listed (a listing with a hole would pass for a whole one).
    """

    def stop(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(folder, onerror=stop):
        inside = Path(root).relative_to(folder)
        for name in [*files, *(name for name in folders if (Path(root) / name).is_symlink())]:
            yield (inside / name).as_posix()


def is_plain(name: object) -> bool:
    """Whether a name is a relative POSIX path that stays inside its folder."""
    if not isinstance(name, str) or not name or any(mark in name for mark in "\\\0"):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return all(part not in {"", ".", ".."} for part in name.split("/"))


def refused(path: Path, why: str) -> Fault:
    """The fault of something that cannot become an artefact."""
    shown = str(path).encode(errors="backslashreplace").decode()
    return Fault("TW-STOR-011", why, shown, "store regular files; copy what a link points to")
