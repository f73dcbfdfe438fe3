"""PDF: the text of a file's pages as rows with one column, ``text``.

Place on the road: a reader of ``data.readers``. Needs the extra ``documents`` (pypdf). Text is taken as the pages hold
it, in their order; there is no recognition of scans. What would fill the memory is refused: large files, many pages,
streams that unpack beyond reason; so are encrypted files. Knows neither records nor tokens.
"""

from collections.abc import Iterator
from typing import Any, Final

from tuneward.data.documents import SECTION_CHARACTERS, say_empty, sections, too_large
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row
from tuneward.domain.record import Source

MAX_PDF_BYTES: Final = 64 * 1024 * 1024
MAX_PAGES: Final = 5_000
MAX_PAGE_BYTES: Final = 8 * 1024 * 1024
MAX_CHARACTERS: Final = 50_000_000


def read_pdf(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Pages joined by blank lines; a row's place is the page on which its section begins."""
    try:
        import pypdf  # an optional extra
    except ImportError:
        say_absent("pypdf", file, faults)
        return
    if too_large(file, MAX_PDF_BYTES, faults):
        return
    waiting: list[str] = []
    first, size, written, number = 1, 0, 0, 0
    try:
        with pypdf.PdfReader(file.path) as reader:
            if not _is_open(reader, file, faults):
                return
            for number, page in enumerate(reader.pages, start=1):
                text = _text_of(page)
                written += len(text)
                if written > MAX_CHARACTERS:
                    raise _BombError(f"holds more than {MAX_CHARACTERS:,} characters")
                if waiting and size + len(text) > SECTION_CHARACTERS:
                    yield from _rows(waiting, file, first)
                    waiting, size = [], 0
                first = first if waiting else number
                waiting.append(text + "\n\n")
                size += len(text)
    except _BombError as bomb:
        message = f"{bomb} (page {number})" if number else str(bomb)
        faults.add("TW-DATA-040", message, place=file.name, cure="split the file, or save its text as .txt")
        return
    except Exception as error:  # a damaged file fails in many ways; the library's text may quote it
        message = f"is no sound PDF ({type(error).__name__}, page {number})"
        faults.add("TW-DATA-042", message, place=file.name, cure="export it again, or save its text as .txt")
        return
    yield from _rows(waiting, file, first)
    if not written:
        say_empty(file, faults)


def say_absent(package: str, file: DataFile, faults: Faults) -> None:
    """The fault of a reader whose package is not installed."""
    message = f"`{file.path.suffix}` needs {package}, which is not installed"
    faults.add("TW-DATA-041", message, place=file.name, cure="pip install 'tuneward[documents]'")


class _BombError(Exception):
    """The file would take more than it may."""


def _is_open(reader: Any, file: DataFile, faults: Faults) -> bool:
    if reader.is_encrypted:
        cure = "save it without a password; Tuneward opens no protected file"
        faults.add("TW-DATA-042", "is encrypted", place=file.name, cure=cure)
        return False
    if len(reader.pages) > MAX_PAGES:
        message = f"has {len(reader.pages):,} pages; at most {MAX_PAGES:,} are read"
        faults.add("TW-DATA-040", message, place=file.name, cure="split it into smaller files")
        return False
    return True


def _text_of(page: Any) -> str:
    content = page.get_contents()
    if content is not None and len(content.get_data()) > MAX_PAGE_BYTES:
        raise _BombError(f"a page unpacks to more than {MAX_PAGE_BYTES // 2**20} MiB")
    lines = (page.extract_text() or "").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _rows(pages: list[str], file: DataFile, first: int) -> Iterator[Row]:
    text = "".join(pages)
    for section in sections(text):
        if section.strip():
            yield Row({"text": section}, Source(file.name, file.digest, first))
