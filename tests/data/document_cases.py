"""Small PDF and DOCX files, made by hand, sound and unsound."""

import zlib
from pathlib import Path

import docx
import pypdf


def write_pdf(path: Path, pages: list[str], *, packed: bytes | None = None) -> None:
    """A PDF whose pages show the lines of ``pages``; ``packed`` replaces the first page's content stream."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for number, text in enumerate(pages):
        shown = b"BT /F1 12 Tf 72 720 Td 14 TL\n"
        for line in text.split("\n"):
            shown += b"(" + line.encode("latin-1").replace(b"(", b"\\(").replace(b")", b"\\)") + b") Tj T*\n"
        data = zlib.compress(packed if packed is not None and number == 0 else shown + b"ET")
        content = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(data) + data + b"\nendstream"
        first = len(objects) + 1
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R " % (first + 1)
        objects += [page + b"/Resources << /Font << /F1 3 0 R >> >> >>", content]
        kids.append(b"%d 0 R" % first)
    objects[1] = b"<< /Type /Pages /Kids [" + b" ".join(kids) + b"] /Count %d >>" % len(kids)
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(b"%010d 00000 n \n" % p for p in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    path.write_bytes(out)


def encrypt_pdf(path: Path) -> None:
    """Put a password on a PDF."""
    writer = pypdf.PdfWriter(clone_from=path)
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(path)


def write_docx(path: Path, blocks: list[str | list[list[str]]]) -> None:
    """A DOCX of paragraphs (text) and tables (rows of cells)."""
    document = docx.Document()
    for block in blocks:
        if isinstance(block, str):
            document.add_paragraph(block)
        else:
            table = document.add_table(rows=len(block), cols=len(block[0]))
            for row, cells in zip(table.rows, block, strict=True):
                for cell, text in zip(row.cells, cells, strict=True):
                    cell.text = text
    document.save(str(path))
