"""Spool: lines of bytes in a file without a name, added at the end and read by position.

Place on the road: beneath ``data.rows`` and ``data.finding_log``, which hold what is too much for memory. The file has
no name, so that the operating system takes it back with the process, however that ends: nothing of the rows stays on
the disk. Kept in memory are eight bytes a line. Knows nothing of what the lines say.
"""

import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PENDING_BYTES: Final = 1 << 18
_BLOCK_LINES: Final = 256


class Spool:
    """Lines of bytes on disk.

    Args:
        folder: on whose disk they lie; the system's folder for temporary files when None.

    Raises:
        OSError: the disk refuses, here and in whatever adds or reads.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (it ends with us)
        self._ends = array("q", [0])
        self._pending = bytearray()
        self._written = 0

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, position: int) -> bytes:
        """One line.

        Raises:
            IndexError: there is no such line.
        """
        if not 0 <= position < len(self):
            raise IndexError(position)
        return self._read(self._ends[position], self._ends[position + 1])

    def __iter__(self) -> Iterator[bytes]:
        for begin in range(0, len(self), _BLOCK_LINES):
            end = min(begin + _BLOCK_LINES, len(self))
            start = self._ends[begin]
            block = self._read(start, self._ends[end])
            for position in range(begin, end):
                yield block[self._ends[position] - start : self._ends[position + 1] - start]

    def add(self, line: bytes) -> int:
        """Take one more line; returns its position, counted from 0."""
        self._pending += line
        self._ends.append(self._ends[-1] + len(line))
        if len(self._pending) >= _PENDING_BYTES:
            self._flush()
        return len(self) - 1

    def _read(self, start: int, end: int) -> bytes:
        if end > self._written:
            self._flush()
        data = os.pread(self._file.fileno(), end - start, start)
        if len(data) < end - start:  # more than one call gives, or a disk that lost what it took
            parts = [data]
            while (missing := end - start - sum(map(len, parts))) > 0:
                part = os.pread(self._file.fileno(), missing, end - missing)
                if not part:
                    raise OSError(5, "the disk gives back less than was written")
                parts.append(part)
            data = b"".join(parts)
        return data

    def _flush(self) -> None:
        view = memoryview(self._pending)
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._file.fileno(), view[done:], self._written + done)
        finally:
            view.release()
        self._written += done
        self._pending.clear()
