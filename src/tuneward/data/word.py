"""Word: the text of a DOCX file's body as rows with one column, ``text``.

Place on the road: a reader of ``data.readers``. Needs the extra ``documents`` (python-docx). Paragraphs and tables come
in their order, tabs between cells; headers, footers, notes, comments and text boxes are not part of the body. A file is
a ZIP archive: what would unpack beyond reason is refused before anything is unpacked. Knows neither records nor tokens.
"""

import zipfile
from collections.abc import Iterator
from typing import Any, Final

from tuneward.data.documents import numbered, sections, too_large
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row
from tuneward.data.pdf import say_absent

MAX_DOCX_BYTES: Final = 64 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024
MAX_PART_BYTES: Final = 64 * 1024 * 1024
MAX_PARTS: Final = 10_000
MAX_RATIO: Final = 200


def read_docx(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Paragraphs joined by blank lines; a row's place is its section."""
    try:
        import docx  # an optional extra
    except ImportError:
        say_absent("python-docx", file, faults)
        return
    if too_large(file, MAX_DOCX_BYTES, faults):
        return
    try:
        if problem := _bomb(file):
            cure = "save its text as .txt, or split the file"
            faults.add("TW-DATA-040", problem, place=file.name, cure=cure)
            return
        blocks = [_text_of(block) for block in docx.Document(str(file.path)).iter_inner_content()]
    except Exception as error:  # a damaged file fails in many ways; the library's text may quote it
        message = f"is no sound DOCX file, or protected by a password ({type(error).__name__})"
        faults.add("TW-DATA-042", message, place=file.name, cure="save it again without a password, or as .txt")
        return
    yield from numbered(sections("\n\n".join(block for block in blocks if block.strip())), file, faults)


def _bomb(file: DataFile) -> str | None:
    with zipfile.ZipFile(file.path) as archive:
        parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    if len(parts) > MAX_PARTS:
        return f"holds {len(parts):,} parts; at most {MAX_PARTS:,} are read"
    if unpacked > MAX_UNPACKED_BYTES or any(p.file_size > MAX_PART_BYTES for p in parts if p.filename.endswith("xml")):
        return f"unpacks to {unpacked / 2**20:,.0f} MiB; at most {MAX_UNPACKED_BYTES // 2**20} are read"
    if unpacked > 2**20 and unpacked > MAX_RATIO * file.bytes:
        return f"unpacks to {unpacked / file.bytes:,.0f} times its size"
    return None


def _text_of(block: Any) -> str:
    """A paragraph's text, or a table's rows as lines with tabs between cells; a merged cell stands once."""
    if not hasattr(block, "rows"):
        return str(block.text)
    lines = []
    for row in block.rows:
        cells = []
        seen: list[Any] = []
        for cell in row.cells:
            if cell._tc not in seen:
                seen.append(cell._tc)
                cells.append("\n".join(_text_of(inner) for inner in cell.iter_inner_content()))
        lines.append("\t".join(cells))
    return "\n".join(lines)
