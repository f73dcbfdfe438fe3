"""Readers: from a file to rows, one at a time, each with its place.

Place on the road: ``data.files`` → here → ``data.records``. A reader is chosen by the file's suffix from one explicit
dict: JSON (``data.json_rows``), delimited text (``data.delimited``), columnar files (``data.columnar``), and documents
(``data.documents``, ``data.pdf``, ``data.word``, ``data.mail``), which give rows with one column, ``text``. Texts may
be packed (``data.unpacking``). A reader keeps no more than a few rows in memory, goes on after a fault so that all of
them are told, and never repeats a row's text in a fault. Knows nothing of prompts and answers.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from tuneward.data.columnar import read_arrow, read_parquet
from tuneward.data.delimited import read_csv
from tuneward.data.documents import read_html, read_text
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.header import say_too_many
from tuneward.data.json_rows import read_json, read_jsonl
from tuneward.data.lines import MAX_FIELD_CHARACTERS, Row
from tuneward.data.mail import read_mail, read_mailbox
from tuneward.data.pdf import read_pdf
from tuneward.data.unpacking import UnpackingError
from tuneward.data.word import read_docx


class Reader(Protocol):
    """Reads one format.

    Law: memory does not grow with the file; the same file gives the same rows; nothing is skipped silently.
    """

    def __call__(self, file: DataFile, faults: Faults, /) -> Iterator[Row]:
        """Yield rows in file order; what cannot be read becomes a fault with its line."""


def read(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Read ``file`` with the reader of its suffix; fields too large for any row become faults."""
    reader = (TEXT_READERS if file.packing else READERS).get(file.kind)
    if reader is None:
        say_unknown(file, faults)
        return
    try:
        for row in reader(file, faults):
            if len(row.values) > 1 and say_too_many(len(row.values), str(row.source), faults):
                continue
            large = [k for k, v in row.values.items() if isinstance(v, str) and len(v) > MAX_FIELD_CHARACTERS]
            for column in large:
                faults.add(
                    "TW-DATA-014",
                    f"column `{column[:80]}` holds more than {MAX_FIELD_CHARACTERS:,} characters",
                    place=str(row.source),
                    cure="split the text over rows, or check for a missing quote or line end",
                )
            if not large:
                yield row
    except UnpackingError as error:
        faults.add(error.code, str(error), place=file.name, cure=error.cure)
    except OSError as error:
        faults.add("TW-DATA-005", f"cannot be read: {error.strerror}", place=file.name, cure="check the disk and retry")


def say_unknown(file: DataFile, faults: Faults) -> None:
    """The fault of a kind of file that no reader reads, or not when it is packed."""
    if file.packing and file.kind in READERS:
        cure = f"unpack it: `{file.kind}` is read as it is"
        faults.add("TW-DATA-004", f"`{file.kind}{file.packing}` is not read", place=file.name, cure=cure)
        return
    cure = f"convert it to one of {', '.join(READERS)}; texts may end in .gz or .zst"
    faults.add("TW-DATA-004", f"`{file.path.suffix or 'no suffix'}` is not read", place=file.name, cure=cure)


#: Suffix → reader of a text, which may be packed.
TEXT_READERS: Final[Mapping[str, Reader]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_text,
    ".md": read_text,
    ".markdown": read_text,
    ".html": read_html,
    ".htm": read_html,
    ".eml": read_mail,
    ".mbox": read_mailbox,
}
#: Suffix → reader.
READERS: Final[Mapping[str, Reader]] = {
    **TEXT_READERS,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".ipc": read_arrow,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
