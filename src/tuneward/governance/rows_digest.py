"""Rows digest: one digest over a dataset's rows in the register, whatever their number and order.

Place on the road: ``governance.change`` commits to it, ``governance.row_check`` computes it again. Rows beyond what
memory should hold are sorted in pieces, in files without a name.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from tuneward.digests import merkle_root
from tuneward.storage import repository

_HELD_BYTES: Final = 32 * 1024 * 1024


class RowsDigest:
    """Merkle root over the canonical JSON of rows, sorted bytewise.

    Attributes:
        count: rows so far.

    Args:
        folder: on whose disk pieces lie; the system's folder for temporary files when None.
        held_bytes: what is sorted in memory.
    """

    def __init__(self, folder: Path | None = None, *, held_bytes: int = _HELD_BYTES) -> None:
        self.count = 0
        self._folder, self._most, self._bytes = folder, held_bytes, 0
        self._held: list[bytes] = []
        self._pieces: list[IO[bytes]] = []

    def add(self, rows: Iterable[bytes]) -> None:
        """Take the canonical JSON of more rows.

        Raises:
            OSError: the disk is full.
        """
        for row in rows:
            self.count += 1
            self._held.append(row)
            self._bytes += len(row)
            if self._bytes > self._most:
                self._put_away()

    def root(self) -> str:
        """The digest, in hex; ends the object."""
        self._held.sort()
        leaves = heapq.merge(self._held, *map(_lines, self._pieces)) if self._pieces else self._held
        return merkle_root(leaves)

    def _put_away(self) -> None:
        piece = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (it ends with us)
        piece.writelines(row + b"\n" for row in sorted(self._held))
        piece.flush()
        self._pieces.append(piece)
        self._held, self._bytes = [], 0


def rows_digest(nouns: Iterable[object]) -> str:
    """The digest of rows that are at hand."""
    digest = RowsDigest()
    digest.add(map(repository.canonical_noun, nouns))
    return digest.root()


def _lines(piece: IO[bytes]) -> Iterator[bytes]:
    piece.seek(0)
    for line in piece:
        yield line[:-1]
