"""Inspection journal: what inspection found in rows that were read before, so that no row is inspected twice.

Place on the road: ``data.inspecting`` asks it before it inspects, and tells it afterwards. ``prepare`` that is killed
in the middle of a million rows reads them anew, which is quick and always gives the same, and takes from the journal
what costs time; so nothing of its state must be stored, and what it makes is the same to the byte. The journal stays
when ``prepare`` has ended well, with the rows of that run and no others: a changed policy or some added rows then do
not inspect everything again, and it never outgrows the data.

It holds a keyed digest of each row's texts and of each finding its kind, place, confidence, rule and view; no text, and
nothing that tells whose row it is without the site's key. Each line is a piece of a run with a checksum that takes the
site's key and the inspector: a piece that is torn, was written by whoever has no key, or comes from the journal of
another inspector ends the journal, and what stands before it holds. So whoever can write here, and cannot read the
site's keys, lets no row pass as clean.
"""

import hashlib
import hmac
import json
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import numpy as np

from tuneward.data.spool import Spool
from tuneward.domain.finding import Finding

Found = list[list[Finding]]

FORMAT: Final = "tuneward-inspection-journal/1"
_KEY_BYTES: Final = 16
_CHECK_BYTES: Final = 16
_LENGTH_BYTES: Final = 4
_REWRITTEN_TOGETHER: Final = 1024


class InspectionJournal:
    """Findings by what was inspected.

    Attributes:
        known: rows that it knew at the beginning.
        taken: rows that were taken from it since.

    Args:
        path: its file; its folder is made.
        inspector: digest of all that findings depend on beside the text.
        key: the site's key for records.
        scratch: on whose disk what is known is unpacked; see :class:`data.spool.Spool`.
    """

    def __init__(self, path: Path, *, inspector: str, key: bytes, scratch: Path | None = None) -> None:
        self._path, self._key = path, hashlib.sha256(b"inspection journal " + key).digest()
        self._header = json.dumps({"format": FORMAT, "inspector": inspector}).encode()
        self._seal = hashlib.sha256(self._key + self._header).digest()
        self._found = Spool(scratch)
        self._keys = bytearray()
        self._handle: IO[bytes] | None = None
        self._open(scratch)
        self.known, self.taken = len(self._found), 0
        self._used = np.zeros(self.known, dtype=bool)
        heads = np.frombuffer(bytes(self._keys), dtype="<u8").reshape(-1, 2)[:, 0]
        self._order = np.argsort(heads, kind="stable")
        self._sorted = heads[self._order]

    def keys(self, rows: Sequence[Sequence[str]]) -> list[bytes]:
        """By what rows are known: a keyed digest of the texts of each."""
        return [self._key_of(texts) for texts in rows]

    def look(self, keys: Sequence[bytes]) -> list[Found | None]:
        """What was found in each of the rows, None for those that are not known."""
        heads = np.frombuffer(b"".join(key[:8] for key in keys), dtype="<u8")
        places = np.searchsorted(self._sorted, heads)
        return [self._at(int(place), key) for place, key in zip(places, keys, strict=True)]

    def add(self, keys: Sequence[bytes], found: Sequence[Found]) -> None:
        """Remember what was found in rows; a disk that is full ends the journal where it stands, not the run."""
        if self._handle is None or not keys:
            return
        lines = [json.dumps([[finding.values for finding in part] for part in row]).encode() for row in found]
        before = self._handle.tell()
        try:
            self._handle.write(self._piece([key + line for key, line in zip(keys, lines, strict=True)]))
            self._handle.flush()
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle.fileno(), before)
            self.close()

    def finish(self) -> None:
        """The run has ended well: forget what it did not ask for, and close."""
        unused = self.known - int(self._used.sum())
        if unused and self._handle is not None:
            try:
                self._rewrite()
            except OSError:
                self.close()
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; nothing is remembered from here on."""
        if self._handle is not None:
            with suppress(OSError):
                self._handle.close()
        self._handle = None

    def _at(self, place: int, key: bytes) -> Found | None:
        while place < self.known and self._sorted[place] == int.from_bytes(key[:8], "little"):
            number = int(self._order[place])
            if self._keys[_KEY_BYTES * number : _KEY_BYTES * (number + 1)] == key:
                self.taken += 1
                self._used[number] = True
                return [[Finding(*values) for values in part] for part in json.loads(self._found[number])]
            place += 1
        return None

    def _key_of(self, texts: Sequence[str]) -> bytes:
        state = hashlib.blake2b(key=self._key, digest_size=_KEY_BYTES)
        for text in texts:
            written = text.encode("utf-8", "surrogatepass")
            state.update(b"%d " % len(written) + written)
        return state.digest()

    def _open(self, scratch: Path | None) -> None:
        """Read what holds, cut off what does not, and stand at the end."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # no link is followed, for what is there is cut off or overwritten; no pipe is waited for
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return
        handle = os.fdopen(descriptor, "r+b")
        try:
            end = self._read(handle)
            handle.truncate(end)
            handle.seek(end)
            if end == 0:
                handle.write(self._piece([self._header]))
                handle.flush()
        except OSError:
            with suppress(OSError):  # what was still to be written
                handle.close()
            self._keys.clear()
            self._found = Spool(scratch)
            return
        self._handle = handle

    def _read(self, handle: IO[bytes]) -> int:
        """Take in every piece that holds; returns where the last of them ends, 0 where none of it is of use."""
        end = 0
        for lines, after in self._pieces(handle):
            if end == 0:
                if lines != [self._header]:
                    return 0
            else:
                for line in lines:
                    self._keys += line[:_KEY_BYTES]
                    self._found.add(line[_KEY_BYTES:])
            end = after
        return end

    def _rewrite(self) -> None:
        """A new file with the rows that this run asked for: those that it knew first, then those that it added."""
        assert self._handle is not None
        new = self._path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                target.write(self._piece([self._header]))
                kept = list[bytes]()
                for number, found in zip(np.flatnonzero(self._used).tolist(), self._kept(), strict=True):
                    kept.append(bytes(self._keys[_KEY_BYTES * number : _KEY_BYTES * (number + 1)]) + found)
                    if len(kept) == _REWRITTEN_TOGETHER:
                        target.write(self._piece(kept))
                        kept.clear()
                if kept:
                    target.write(self._piece(kept))
                skipped = 0
                self._handle.seek(0)
                for lines, _ in self._pieces(self._handle):
                    if skipped > self.known:  # the header and all that was known stand before
                        target.write(self._piece(lines))
                    skipped += len(lines)
            new.replace(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _kept(self) -> Iterator[bytes]:
        return (self._found[number] for number in np.flatnonzero(self._used).tolist())

    def _piece(self, lines: Sequence[bytes]) -> bytes:
        """Lines in one piece: its length, its checksum, and the lines packed, each behind its own length."""
        packed = zlib.compress(b"".join(len(line).to_bytes(_LENGTH_BYTES, "little") + line for line in lines), 1)
        return len(packed).to_bytes(_LENGTH_BYTES, "little") + self._check(packed) + packed

    def _pieces(self, handle: IO[bytes]) -> Iterator[tuple[list[bytes], int]]:
        """Each piece that holds, up to the first that does not, with the place where it ends."""
        head, size = _LENGTH_BYTES + _CHECK_BYTES, os.fstat(handle.fileno()).st_size
        while len(start := handle.read(head)) == head:
            length = int.from_bytes(start[:_LENGTH_BYTES], "little")
            if length > size - handle.tell():  # before memory is taken for it
                return
            packed = handle.read(length)
            if not hmac.compare_digest(self._check(packed), start[_LENGTH_BYTES:]):
                return
            text, lines, place = zlib.decompress(packed), list[bytes](), 0
            while place < len(text):
                begin = place + _LENGTH_BYTES
                place = begin + int.from_bytes(text[place:begin], "little")
                lines.append(text[begin:place])
            yield lines, handle.tell()

    def _check(self, packed: bytes) -> bytes:
        return hashlib.blake2b(packed, key=self._seal, digest_size=_CHECK_BYTES).digest()


def forget(folder: Path) -> None:
    """Remove every journal below ``folder``: an erasure leaves none that knows a row of the erased person."""
    for pattern in ("*.journal", "*.new"):  # a rewriting that was killed leaves the second
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
