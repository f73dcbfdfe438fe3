"""Documents: plain text, Markdown and HTML as rows with one column, ``text``.

Place on the road: readers of ``data.readers``. A document comes as sections that end at a paragraph, so that no text is
too large for what inspects it; joined, the sections of a file are its text. Knows neither records nor tokens. HTML is
read by the standard library's parser: nothing is fetched, nothing is run.
"""

from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import Final

from tuneward.data.cut import UncuttableError, cut, paragraphs
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row, read_lines
from tuneward.domain.record import Source

MAX_TEXT_BYTES: Final = 256 * 1024 * 1024
MAX_HTML_BYTES: Final = 16 * 1024 * 1024
SECTION_CHARACTERS: Final = 50_000
_MOST_UNCLOSED: Final = 200

_BLOCKS: Final = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt"),
        *("fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header"),
        *("hr", "html", "main", "menu", "nav", "ol", "p", "pre", "section", "summary", "table", "title", "ul"),
    )
)
_LINES: Final = frozenset(("br", "li", "tr", "caption", "option"))
_CELLS: Final = frozenset(("td", "th"))
_UNSHOWN: Final = frozenset(("script", "style"))


def read_text(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Plain text or Markdown, as it stands; a row's place is the line on which its section begins."""
    if too_large(file, MAX_TEXT_BYTES, faults):
        return
    waiting: list[str] = []
    size, first, read = 0, 1, 0
    blank, damaged, shown = False, False, False
    for number, line in read_lines(file, faults):
        read += len(line or "")
        if _unpacks_too_far(read, MAX_TEXT_BYTES, file, faults):
            return
        if line is None:
            damaged = True
            continue
        if blank and line.strip() and size + len(line) > SECTION_CHARACTERS and shown:
            yield from _sections("".join(waiting), file, first)
            waiting, size, first, shown = [], 0, number, False
        waiting.append(line)
        size += len(line)
        blank = not line.strip()
        shown = shown or not blank
    if shown and not damaged:
        yield from _sections("".join(waiting), file, first)
    elif not damaged and first == 1:
        say_empty(file, faults)


def read_html(file: DataFile, faults: Faults) -> Iterator[Row]:
    """The text that a page shows: a blank line between blocks, tabs between cells; a row's place is its section."""
    if too_large(file, MAX_HTML_BYTES, faults):
        return
    lines: list[str] = []
    read, damaged = 0, False
    for _, line in read_lines(file, faults):
        read += len(line or "")
        if _unpacks_too_far(read, MAX_HTML_BYTES, file, faults):
            return
        damaged = damaged or line is None
        lines.append(line or "")
    if damaged:
        return
    text = page_text("".join(lines))
    if text is None:
        cure = "mend the page, or save its text as .txt"
        faults.add("TW-DATA-042", "tags or comments are never closed", place=file.name, cure=cure)
        return
    yield from numbered(sections(text), file, faults)


def page_text(page: str) -> str | None:
    """The text that a page of HTML shows; None where so much is never closed that reading it would take too long."""
    if not _is_closed(page):
        return None
    shown = _Shown()
    shown.feed(page)
    shown.close()
    return shown.text()


def sections(text: str) -> Iterator[str]:
    """Sections of a text, cut at paragraphs, and at finer borders where one is too long; joined, they are the text."""
    try:
        yield from cut(text, size=len, limit=SECTION_CHARACTERS)[0]
    except UncuttableError:  # a word of fifty thousand characters; what cannot fit the context is refused later
        yield from paragraphs(text)


def numbered(texts: Iterable[str], file: DataFile, faults: Faults) -> Iterator[Row]:
    """Rows of a file's sections, numbered from 1; a fault where none holds a word."""
    number = 0
    for number, text in enumerate((text for text in texts if text.strip()), start=1):
        yield Row({"text": text}, Source(file.name, file.digest, number))
    if number == 0:
        say_empty(file, faults)


def too_large(file: DataFile, most: int, faults: Faults) -> bool:
    """Whether the file is larger than its reader takes into memory; a fault then."""
    if file.bytes <= most:
        return False
    message = f"has {file.bytes / 2**20:,.0f} MiB; at most {most // 2**20} are read"
    faults.add("TW-DATA-040", message, place=file.name, cure="split it into smaller files")
    return True


def _unpacks_too_far(read: int, most: int, file: DataFile, faults: Faults) -> bool:
    if not file.packing or read <= most:
        return False
    message = f"unpacks to more than {most // 2**20} MiB"
    faults.add("TW-DATA-040", message, place=file.name, cure="split it into smaller files")
    return True


def say_empty(file: DataFile, faults: Faults) -> None:
    """The fault of a document without a word."""
    cure = "where it is a scan, run text recognition first; else take it out of the folder"
    faults.add("TW-DATA-039", "holds no text", place=file.name, cure=cure)


def _sections(text: str, file: DataFile, first: int) -> Iterator[Row]:
    line = first
    for section in sections(text):
        yield Row({"text": section}, Source(file.name, file.digest, line))
        line += section.count("\n")


def _is_closed(page: str) -> bool:
    """Whether the parser's work stays linear: it looks for the end of every opened construct anew."""
    last = page.rfind(">")
    open_at_end = page.count("<", last + 1)
    open_comments = page.count("<!--") - page.count("-->")
    open_sections = page.count("<![") - page.count("]>")
    return max(open_at_end, open_comments, open_sections) <= _MOST_UNCLOSED


class _Shown(HTMLParser):
    """Collects what a page shows, white space folded outside ``pre``."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._pre = 0
        self._unshown = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unshown += tag in _UNSHOWN
        self._break(tag)
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._unshown = max(0, self._unshown - (tag in _UNSHOWN))
        self._pre = max(0, self._pre - (tag == "pre"))
        if tag != "br" and tag not in _CELLS:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._unshown:
            return
        if self._pre:
            self._parts.append(data)
            return
        words = " ".join(data.split())
        if words:
            before = " " if data[0].isspace() and not self._at_border() else ""
            self._parts.append(before + words + (" " if data[-1].isspace() else ""))
        elif data and not self._at_border():
            self._parts.append(" ")

    def text(self) -> str:
        """The page's text; blocks are paragraphs."""
        lines = ["".join(self._parts)]
        return "\n".join(line.rstrip(" \t") for line in lines[0].split("\n")).strip("\n")

    def _at_border(self) -> bool:
        return not self._parts or self._parts[-1][-1:].isspace()

    def _break(self, tag: str) -> None:
        wanted = "\n\n" if tag in _BLOCKS else "\n" if tag in _LINES else "\t" if tag in _CELLS else ""
        if not wanted or not self._parts:
            return
        ending = "".join(self._parts[-2:])
        if wanted == "\t":
            if not ending.endswith(("\n", "\t")):
                self._parts.append("\t")
        elif tag == "br":
            self._parts.append("\n")
        else:
            have = len(ending) - len(ending.rstrip("\n"))
            self._parts.append("\n" * max(0, len(wanted) - have))
            if not self._parts[-1]:
                self._parts.pop()
