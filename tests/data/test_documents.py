"""Documents: text, Markdown, HTML, PDF and DOCX become passages that fit, nothing lost, and bad files are told."""

import builtins
import time
import zipfile
from pathlib import Path

import pytest
from data_cases import prepare, refused, write_rows
from document_cases import encrypt_pdf, write_docx, write_pdf
from hypothesis import given
from hypothesis import strategies as st

from tuneward.data import documents, pdf, word
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.readers import read
from tuneward.errors import DataError

PROSE = "\n\n".join(f"Paragraph {number} says a few words about the matter." for number in range(30))


def read_file(path: Path) -> tuple[list[str], list[int], Faults]:
    faults = Faults()
    rows = list(read(DataFile(path, path.name, "0" * 64, path.stat().st_size, "train"), faults))
    return [row.values["text"] for row in rows], [row.source.line for row in rows], faults


def texts(prepared):
    return [record.messages[0].content for record in prepared.train]


def documents_in(folder, **arguments):
    return prepare(folder, form="document", **arguments)


def test_a_folder_of_documents_becomes_passages_that_join_to_the_texts(tmp_path):
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text(PROSE, encoding="utf-8")
    (folder / "deep" / "b.md").write_text("# Title\n\nA *few* words.\n", encoding="utf-8")
    (folder / ".hidden.txt").write_text("no", encoding="utf-8")
    prepared = documents_in(tmp_path, train=["docs"], tokens=50)
    by_file = {}
    for record in prepared.train:
        by_file.setdefault(record.source.path, []).append(record.messages[0].content)
        assert len(record.messages[0].content.split()) < 50
        assert record.messages[0].role == "document"
        assert record.form == "document"
    assert {name: "".join(parts) for name, parts in by_file.items()} == {
        "docs/a.txt": PROSE,
        "docs/deep/b.md": "# Title\n\nA *few* words.\n",
    }
    train = prepared.counts["train"]
    assert train["read"] == 2
    assert train["kept"] == train["pieces"] + 1
    assert prepared.counts["broken_paragraphs"] == 0
    assert len({record.id for record in prepared.train}) == len(prepared.train)


def test_a_paragraph_that_does_not_fit_is_cut_inside_and_counted(tmp_path):
    (tmp_path / "train.txt").write_text("word " * 70 + "\n\nshort", encoding="utf-8")
    prepared = documents_in(tmp_path, train=["train.txt"], tokens=30)
    assert "".join(texts(prepared)) == "word " * 70 + "\n\nshort"
    assert prepared.counts["broken_paragraphs"] == 1


def test_rows_with_a_text_column_are_documents(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"text": "One text."}, {"text": "Another\n\none."}])
    assert texts(documents_in(tmp_path)) == ["One text.", "Another\n\none."]
    write_rows(tmp_path / "train.jsonl", [{"body": "One text."}])
    assert texts(documents_in(tmp_path, text="body")) == ["One text."]


def test_named_columns_do_not_hinder_documents_beside_them(tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"body": "One text.", "who": "c1"}])
    (tmp_path / "b.md").write_text("# Two", encoding="utf-8")
    prepared = documents_in(tmp_path, train=["a.jsonl", "b.md"], text="body", subject="who")
    assert texts(prepared) == ["One text.", "# Two"]
    assert [record.subject is None for record in prepared.train] == [False, True]


def test_a_large_text_comes_in_sections_with_the_line_on_which_each_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "SECTION_CHARACTERS", 100)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + PROSE.replace("\n", "\r\n").encode())
    found, lines, faults = read_file(tmp_path / "a.txt")
    assert not len(faults)
    assert "".join(found) == PROSE
    every = PROSE.split("\n")
    assert [every[line - 1] for line in lines] == [text.split("\n")[0] for text in found]
    assert len(found) > 10


@given(st.text(st.sampled_from("ab \n."), max_size=300))
def test_sections_join_to_the_text(text):
    assert "".join(documents.sections(text)) == text


def test_html_gives_the_text_that_a_page_shows(tmp_path):
    page = """<!doctype html><html><head><title>Title &amp; more</title><style>p { x: "y" }</style>
    <script>var a = "<p>no</p>";</script></head><body><h1>Head</h1><p>One
    <b>bold</b>word,<br>next line.</p><ul><li>first</li><li>second</li></ul><!-- no -->
    <table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table><pre>x
      y</pre><p>Gr&uuml;&szlig;e</body></html>"""
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    (found,), _, faults = read_file(tmp_path / "a.html")
    assert not len(faults)
    assert found == (
        "Title & more\n\nHead\n\nOne boldword,\nnext line.\n\nfirst\nsecond\n\nk\tv\na\t1\n\nx\n      y\n\nGrüße"
    )


@pytest.mark.parametrize(
    "page",
    ["<!--" * 300_000, "<a" * 500_000, "<![CDATA[" * 100_000, "<a b='" * 200_000, "</" * 500_000, "<!-- > " * 150_000],
)
def test_pages_that_would_take_for_ever_are_refused(tmp_path, page):
    (tmp_path / "a.html").write_text(page, encoding="utf-8")
    start = time.monotonic()
    _, _, faults = read_file(tmp_path / "a.html")
    assert time.monotonic() - start < 5
    assert len(faults) == 1


def test_pages_nested_beyond_reason_are_read(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 100_000 + "deep" + "</div>" * 100_000, encoding="utf-8")
    assert read_file(tmp_path / "a.html")[0] == ["deep"]


def test_pdf_pages_are_paragraphs(tmp_path):
    write_pdf(tmp_path / "a.pdf", ["First page.\nSecond line.", "Next (page)."])
    found, pages, faults = read_file(tmp_path / "a.pdf")
    assert not len(faults)
    assert found == ["First page.\nSecond line.\n\nNext (page).\n\n"]
    assert pages == [1]


def test_long_pdfs_come_in_sections_with_their_page(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "SECTION_CHARACTERS", 30)
    write_pdf(tmp_path / "a.pdf", ["First page is long.", "Second page, too.", "Third."])
    assert read_file(tmp_path / "a.pdf")[1] == [1, 2]


def test_docx_gives_paragraphs_and_tables_in_order(tmp_path):
    write_docx(tmp_path / "a.docx", ["Grüße.", [["k", "v"], ["a", "1"]], "", "End."])
    (found,), _, faults = read_file(tmp_path / "a.docx")
    assert not len(faults)
    assert found == "Grüße.\n\nk\tv\na\t1\n\nEnd."


def unsound(folder: Path) -> dict[str, str]:
    """File → the code with which it is refused; all in one project."""
    write_pdf(folder / "a-encrypted.pdf", ["secret"])
    encrypt_pdf(folder / "a-encrypted.pdf")
    write_pdf(folder / "b-bomb.pdf", ["x"], packed=b"BT " + b" " * 20_000_000)
    write_pdf(folder / "c-scan.pdf", [""])
    (folder / "d-broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    (folder / "e-broken.docx").write_bytes(b"PK nothing")
    with zipfile.ZipFile(folder / "f-bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 50_000_000)
    (folder / "g-empty.txt").write_text(" \n\n", encoding="utf-8")
    (folder / "h-latin.md").write_bytes("Grüße".encode("latin-1"))
    (folder / "i-empty.html").write_text("<p> </p>", encoding="utf-8")
    (folder / "j.png").write_bytes(b"\x89PNG")
    return {
        "a-encrypted.pdf": "TW-DATA-042",
        "b-bomb.pdf": "TW-DATA-040",
        "c-scan.pdf": "TW-DATA-039",
        "d-broken.pdf": "TW-DATA-042",
        "e-broken.docx": "TW-DATA-042",
        "f-bomb.docx": "TW-DATA-040",
        "g-empty.txt": "TW-DATA-039",
        "h-latin.md:1": "TW-DATA-006",
        "i-empty.html": "TW-DATA-039",
        "j.png": "TW-DATA-004",
    }


def test_every_unsound_document_is_told_at_once(tmp_path):
    (tmp_path / "docs").mkdir()
    wanted = unsound(tmp_path / "docs")
    found = refused(tmp_path, form="document", train=["docs"])
    assert {place: code for code, place in found} == {f"docs/{name}": code for name, code in wanted.items()}


def test_limits_of_size_and_pages(tmp_path, monkeypatch):
    write_pdf(tmp_path / "a.pdf", ["one", "two", "three"])
    write_docx(tmp_path / "b.docx", ["one"])
    (tmp_path / "c.html").write_text("<p>one</p>", encoding="utf-8")
    monkeypatch.setattr(pdf, "MAX_PAGES", 2)
    monkeypatch.setattr(word, "MAX_PARTS", 2)
    monkeypatch.setattr(documents, "MAX_HTML_BYTES", 5)
    for name in ("a.pdf", "b.docx", "c.html"):
        assert refused(tmp_path, form="document", train=[name]) == [("TW-DATA-040", name)]
    monkeypatch.setattr(pdf, "MAX_PAGES", 3)
    monkeypatch.setattr(pdf, "MAX_CHARACTERS", 6)
    assert refused(tmp_path, form="document", train=["a.pdf"]) == [("TW-DATA-040", "a.pdf")]


def test_without_the_extra_the_cure_names_it(tmp_path, monkeypatch):
    write_pdf(tmp_path / "a.pdf", ["one"])
    write_docx(tmp_path / "b.docx", ["one"])
    real = builtins.__import__

    def absent(name, *arguments, **more):
        if name in ("pypdf", "docx"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"tuneward\[documents\]") as caught:
        documents_in(tmp_path, train=["a.pdf", "b.docx"])
    assert [fault.code for fault in caught.value.faults] == ["TW-DATA-041"] * 2


def test_personal_data_in_documents_is_redacted(tmp_path):
    (tmp_path / "train.txt").write_text("Write to ada@example.org.\n\nOr not.", encoding="utf-8")
    assert texts(documents_in(tmp_path, train=["train.txt"])) == ["Write to [EMAIL].\n\nOr not."]


def test_documents_that_stand_twice_or_in_the_test_set_leave(tmp_path):
    for name, text in {"a": "One text.", "b": "one  TEXT.", "c": "Tested.", "d": "Other."}.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    write_rows(tmp_path / "test.jsonl", [{"text": "tested."}])
    prepared = documents_in(tmp_path, train=["*.txt"], test=["test.jsonl"])
    assert texts(prepared) == ["One text.", "Other."]
    assert prepared.counts["train"]["dropped"] == {"finding": 0, "duplicate": 1, "contamination": 1, "too_long": 0}


def test_a_word_longer_than_the_context_is_refused(tmp_path):
    class Letters:
        def document(self, text, /):
            from data_cases import Words

            ids = tuple(range(len(text)))
            return Words(ids, ids)

    (tmp_path / "train.txt").write_text("short\n\n" + "x" * 99, encoding="utf-8")
    chat = Letters()
    assert refused(tmp_path, form="document", train=["train.txt"], chat=chat, tokens=50) == [
        ("TW-DATA-021", "train.txt:1")
    ]
    assert refused(tmp_path, form="document", train=["train.txt"], chat=chat, tokens=50, too_long="drop")[0][0] == (
        "TW-DATA-020"
    )
