"""Any time, without a site or project: what an inspection finds in files, by place and kind, never by text.

Place on the road: beside it. Files are read by the readers of ``prepare`` and looked at by its inspector, so that what
is found here is found there. Nothing is stored or logged.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from tuneward.configuration import validate
from tuneward.data.faults import Faults
from tuneward.data.fields import Seen, files_of, seen_in
from tuneward.data.readers import READERS
from tuneward.errors import ConfigError, Fault
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import Inspector, make_inspector

#: The name under which standard input is inspected.
STDIN: Final = "-"
_BLOCK_BYTES: Final = 1 << 20


def inspector_for(
    *, terms: Mapping[str, str], patterns: Mapping[str, str], views: bool = True, minimum_confidence: float = 0.0
) -> Inspector:
    """The inspector that options ask for.

    Raises:
        ConfigError: a name, term list or pattern that cannot be used; every fault at once.
    """
    values = {"terms": terms, "patterns": patterns, "views": views, "minimum_confidence": minimum_confidence}
    return make_inspector(validate(values, InspectionConfig), folder=Path())


def inspect_files(
    names: Sequence[str], inspector: Inspector, *, stdin_format: str | None = None, contexts: bool = False
) -> Iterator[Seen]:
    """Everything found in files and folders, file by file and row by row.

    Args:
        names: files, folders, and ``-`` for standard input.
        inspector: finds.
        stdin_format: a suffix of ``data.readers.READERS`` without its dot; guessed where it is None.
        contexts: whether each finding brings the text around it, redacted.

    Raises:
        ConfigError: standard input is to be read in a format that is not read.
        DataError: at the end, every file and row that could not be read.
    """
    faults = Faults()
    with ExitStack() as stack:
        for name in names:
            if name == STDIN:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tuneward-")))
                given = [str(_spooled(sys.stdin.buffer, folder, stdin_format))]
            else:
                given = [name]
            for file in files_of(given, faults):
                file = replace(file, name=STDIN) if name == STDIN else file
                yield from seen_in(file, inspector, faults, contexts=contexts)
    faults.raise_if_any()


def _spooled(stream: BinaryIO, folder: Path, stdin_format: str | None) -> Path:
    """What ``stream`` says, in a file that only its owner reads: some formats are read from their end."""
    if stdin_format is not None and f".{stdin_format}" not in READERS:
        known = ", ".join(suffix[1:] for suffix in READERS)
        raise ConfigError(Fault("TW-CONF-007", f"`{stdin_format}` is not read", "--format", f"choose {known}"))
    first = stream.read(_BLOCK_BYTES)
    guessed = "jsonl" if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "txt"
    path = folder / f"stdin.{stdin_format or guessed}"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        while first:
            handle.write(first)
            first = stream.read(_BLOCK_BYTES)
    return path
