"""Staging: folders in which something is built before it appears at its place, and the sweep of what was left.

Place on the road: under ``storage.artifacts``, ``storage.site`` and the steps that build what they store. Knows nothing
of what is built.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuneward.storage.files import explained

PREFIX = "tmp"


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
