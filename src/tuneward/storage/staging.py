"""Staging: folders in which something is built before it appears at its place, and the sweep of what was left there.

Place on the road: under ``storage.artifacts``, ``storage.site`` and the steps that build what they store. Knows nothing
of what is built.
"""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tuneward.digests import is_digest
from tuneward.storage.files import explained

PREFIX = "tmp"
#: Younger files may be somebody's whose process we cannot see (another container on the same folder).
_SETTLED_SECONDS = 3600
_OF_PROCESS = re.compile(r"\.(?P<process>[1-9]\d*)")


@contextmanager
def staging(parent: Path, *, prefix: str = PREFIX) -> Iterator[Path]:
    """A folder of our own in ``parent``, gone at the end; locked, so that a sweep knows that we live.

    Raises:
        StorageError: in place of any OSError, those of the body included.
    """
    with explained(parent):
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if folder.exists():
                    break
            except BlockingIOError:
                pass  # a sweep was between our two steps; it removes the folder
            os.close(lock)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def sweep(parent: Path, *, prefix: str = "") -> None:
    """Remove what killed processes left in ``parent``: the folders of that prefix that nobody holds a lock on.

    Raises:
        OSError: when ``parent`` cannot be listed.
    """
    for folder in parent.iterdir():
        if not folder.name.startswith(prefix):
            continue
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


def sweep_files(parent: Path) -> None:
    """Remove the files that killed processes left in ``parent`` on their way to another name.

    Those are ``.NAME.PROCESS`` of ``files.write_atomically`` and ``DIGEST.PROCESS`` of ``stamps.write_stamps``, when
    no such process lives and nobody has written to them for an hour.

    Raises:
        OSError: when ``parent`` cannot be listed.
    """
    for file in parent.iterdir():
        match = _OF_PROCESS.fullmatch(file.suffix)
        if match is None or not (file.name.startswith(".") or is_digest(file.stem)):
            continue
        with suppress(OSError):  # somebody else swept it
            settled = time.time() - file.lstat().st_mtime > _SETTLED_SECONDS
            if settled and not _lives(int(match["process"])) and not file.is_dir():
                file.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
