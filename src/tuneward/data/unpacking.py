"""Unpacking: the bytes of a file, unpacked where it is packed with gzip or Zstandard, and never without end.

Place on the road: beneath every reader of text. Only as much as is asked for is unpacked, so that memory does not grow
with the file. What unpacks beyond the limits (a bomb), is damaged, or ends too early raises :class:`UnpackingError`,
which ``data.readers`` turns into a fault. Knows bytes, no lines. Sources: RFC 1952 (gzip), RFC 8878 (Zstandard, whose
window the decoder holds to 128 MiB).
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import pyarrow

from tuneward.data.files import DataFile

#: Up to here the ratio does not count: a few equal rows pack better than any bomb.
RATIO_COUNTS_FROM_BYTES: Final = 64 * 1024 * 1024
_BUFFER_BYTES: Final = 256 * 1024


class UnpackingError(Exception):
    """A packed file that is damaged, or unpacks beyond its limits.

    Attributes:
        code: the fault's code.
        cure: what helps.
    """

    def __init__(self, message: str, *, code: str, cure: str) -> None:
        super().__init__(message)
        self.code = code
        self.cure = cure


@contextmanager
def opened(file: DataFile) -> Iterator[BinaryIO]:
    """The file's bytes from the first on, unpacked where its name ends in ``.gz`` or ``.zst``.

    Raises:
        OSError: it cannot be read.
        UnpackingError: on reading, see there.
    """
    if not file.packing:
        with file.path.open("rb") as plain:
            yield plain
        return
    source: Any = gzip.open(file.path) if file.packing == ".gz" else pyarrow.input_stream(file.path, compression="zstd")  # noqa: SIM115
    with source, io.BufferedReader(_Bounded(source, file), _BUFFER_BYTES) as buffered:
        yield buffered


class _Bounded(io.RawIOBase):
    """Unpacked bytes that are counted."""

    def __init__(self, source: Any, file: DataFile) -> None:
        self._source = source
        self._file = file
        self._unpacked = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            part = self._source.read(len(buffer))
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the file's
            cut = isinstance(error, EOFError) or "Truncated" in str(error)
            message = f"its {self._file.packing} packing " + ("ends too early" if cut else "is damaged")
            cure = "copy it again, or pack it again"
            raise UnpackingError(f"{message} ({self._place()})", code="TW-DATA-043", cure=cure) from None
        self._unpacked += len(part)
        self._check()
        buffer[: len(part)] = part
        return len(part)

    def _check(self) -> None:
        limits, unpacked = self._file.limits, self._unpacked
        cure = "unpack it yourself if you trust it, or raise `data.unpacked_mib` and `data.unpacked_ratio`"
        if unpacked > limits.unpacked_mib * 2**20:
            message = f"unpacks to more than {limits.unpacked_mib:,} MiB"
            raise UnpackingError(message, code="TW-DATA-044", cure=cure)
        if unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > limits.unpacked_ratio * self._file.stored_bytes:
            message = f"unpacks to more than {limits.unpacked_ratio:,} times its size"
            raise UnpackingError(message, code="TW-DATA-044", cure=cure)

    def _place(self) -> str:
        return f"after {self._unpacked:,} unpacked bytes"
