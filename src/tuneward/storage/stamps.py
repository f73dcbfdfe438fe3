"""Stamps: file status of a tree when it was last hashed, so that reading it again need not hash gigabytes.

Place on the road: beside ``storage.artifacts``, which trusts a stamp where it hands out a folder and never where it
checks one. The change time moves with every write, rename, link or change of permissions and cannot be set back by
a program; whoever can forge it (a raw disk, a clock set back) is met by ``Artifacts.check``, which hashes.
"""

import json
import os
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from tuneward.digests import canonical_json


@dataclass(frozen=True)
class Stamp:
    """What the file system says about a file.

    Attributes:
        size: in bytes.
        modified: time of the last write, in nanoseconds.
        changed: time of the last change of status, in nanoseconds.
        inode: the file's number.
    """

    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def read_stamps(path: Path) -> dict[str, Stamp]:
    """The stamps in a file; none when it is missing or damaged, which only costs a hashing."""
    try:
        return {name: Stamp(*values) for name, values in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_stamps(path: Path, stamps: dict[str, Stamp]) -> None:
    """Replace the stamps in a file; a disk that cannot take them is no fault of the tree."""
    temporary = path.with_suffix(f".{os.getpid()}")  # known to staging.sweep_files
    try:
        temporary.write_bytes(canonical_json({name: list(astuple(stamp)) for name, stamp in stamps.items()}))
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # a read-only disk refuses even to remove what is not there
            temporary.unlink()
