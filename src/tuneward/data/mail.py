"""Mail: the text of messages as rows with one column, ``text``.

Place on the road: readers of ``data.readers``. A message's plain text is read, or its page where it has no plain text;
headers only where ``data.mail_headers`` names them. Attachments are counted, not read, and so are mails inside mails.
One message is held in memory. Knows neither records nor tokens. Sources: RFC 5322 (messages), RFC 2045 to 2047 (MIME),
RFC 4155 (mbox).
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from typing import BinaryIO, Final

from tuneward.data.documents import page_text, say_empty, sections
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile
from tuneward.data.lines import Row
from tuneward.data.unpacking import opened
from tuneward.domain.record import Source

MAX_MAIL_BYTES: Final = 32 * 1024 * 1024
_MOST_PARTS: Final = 1_000
_MOST_NESTED: Final = 50
_READ: Final = ("text/plain", "text/markdown", "text/html")
_ENCRYPTED: Final = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
#: Codecs that no mail is written in, and that take long or give what was not written.
_NO_CHARSETS: Final = frozenset(("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"))
_FROM: Final = re.compile(rb"From \S{1,1000} +(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ")
_QUOTED_FROM: Final = re.compile(rb">+From ")


class _UnsoundError(Exception):
    """A message that cannot be read, and the fault's code."""

    def __init__(self, message: str, code: str = "TW-DATA-042") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class _Parts:
    """What a message holds: texts in their order, parts that are not read, and parts seen."""

    texts: list[str] = field(default_factory=list)
    attachments: int = 0
    seen: int = 0


def read_mail(file: DataFile, faults: Faults) -> Iterator[Row]:
    """One message; a row's place is its section."""
    with opened(file) as handle:
        raw = handle.read(MAX_MAIL_BYTES + 1)
    if len(raw) > MAX_MAIL_BYTES:
        message = f"has more than {MAX_MAIL_BYTES // 2**20} MiB"
        faults.add("TW-DATA-040", message, place=file.name, cure="save its text as .txt")
        return
    read = _read(raw, file, file.name, faults)
    if read is None:
        return
    number = 0
    for number, text in enumerate(read.texts, start=1):
        yield Row({"text": text}, Source(file.name, file.digest, number), read.attachments if number == 1 else 0)
    if number == 0:
        say_empty(file, faults)


def read_mailbox(file: DataFile, faults: Faults) -> Iterator[Row]:
    """Messages of an mbox file, each behind a line ``From …``; a row's place is the line on which its message begins.

    Further sections of a long message are told by the lines after it. Messages without text are passed over; what is
    attached to them is counted with their neighbours.
    """
    waiting: Row | None = None
    unread = 0
    before = len(faults)
    for line, raw in _messages(file, faults):
        if raw is None:
            continue
        read = _read(raw, file, f"{file.name}:{line}", faults)
        unread += read.attachments if read else 0
        for number, text in enumerate(read.texts if read else ()):
            if waiting:
                yield waiting
            waiting, unread = Row({"text": text}, Source(file.name, file.digest, line + number), unread), 0
    if waiting:
        yield replace(waiting, attachments=waiting.attachments + unread)
    elif len(faults) == before:
        say_empty(file, faults)


def _messages(file: DataFile, faults: Faults) -> Iterator[tuple[int, bytes | None]]:
    """(First line, bytes) of each message, None and a fault where one is too large."""
    with opened(file) as handle:
        yield from _split(handle, file, faults)


def _split(handle: BinaryIO, file: DataFile, faults: Faults) -> Iterator[tuple[int, bytes | None]]:
    held: list[bytes] = []
    size, first, number = 0, 0, 0
    blank, whole = True, True
    while line := handle.readline(MAX_MAIL_BYTES + 1):
        number += whole
        if blank and whole and _FROM.match(line):
            if first:
                yield first, _joined(held, size, f"{file.name}:{first}", faults)
            held, size, first, blank = [], 0, number, False
            continue
        if not first and line.strip():
            cure = "begin every message with a line `From sender Mon Jan  1 00:00:00 2024`, or save mails as .eml"
            faults.add("TW-DATA-042", "is no mailbox: no line `From …` begins it", place=file.name, cure=cure)
            return
        size += len(line)
        if size <= MAX_MAIL_BYTES:
            held.append(line[1:] if _QUOTED_FROM.match(line) else line)
        else:
            held.clear()
        blank, whole = line in (b"\n", b"\r\n"), line.endswith(b"\n")
    if first:
        yield first, _joined(held, size, f"{file.name}:{first}", faults)


def _joined(lines: list[bytes], size: int, place: str, faults: Faults) -> bytes | None:
    if size <= MAX_MAIL_BYTES:
        return b"".join(lines)
    message = f"the message has more than {MAX_MAIL_BYTES // 2**20} MiB"
    faults.add("TW-DATA-040", message, place=place, cure="take it out of the mailbox, or save its text as .txt")
    return None


def _read(raw: bytes, file: DataFile, place: str, faults: Faults) -> _Parts | None:
    """The sections of a message's text and what else it holds; None and a fault where it is unsound."""
    try:
        message = BytesParser().parsebytes(raw)
        parts = _Parts()
        _collect(message, parts, depth=0)
        headers = [_header(message, name) for name in file.limits.mail_headers]
    except _UnsoundError as error:
        cure = (
            "save the mail again as UTF-8" if error.code == "TW-DATA-006" else "save its text as .txt, or leave it out"
        )
        faults.add(error.code, str(error), place=place, cure=cure)
        return None
    except Exception as error:  # a damaged message fails in many ways; the library's text may quote it
        message_ = f"is no sound mail ({type(error).__name__})"
        faults.add("TW-DATA-042", message_, place=place, cure="save its text as .txt, or leave it out")
        return None
    text = "\n\n".join(text.strip("\n") for text in parts.texts if text.strip())
    head = "\n".join(header for header in headers if header)
    shown = "\n\n".join(part for part in (head, text) if part) if text else ""
    return replace(parts, texts=[section for section in sections(shown) if section.strip()] if shown else [])


def _collect(part: Message, parts: _Parts, *, depth: int) -> None:
    parts.seen += 1
    if parts.seen > _MOST_PARTS or depth > _MOST_NESTED:
        raise _UnsoundError(f"has more than {_MOST_PARTS:,} parts, or they are nested more than {_MOST_NESTED} deep")
    kind = part.get_content_type()
    if kind in _ENCRYPTED and not (kind != "multipart/encrypted" and depth):
        raise _UnsoundError("is encrypted")
    inner = part.get_payload()
    if part.get_content_maintype() == "multipart" and isinstance(inner, list):
        children = [child for child in inner if isinstance(child, Message)]
        for child in [_best(children)] if kind == "multipart/alternative" and children else children:
            _collect(child, parts, depth=depth + 1)
        return
    if kind not in _READ or part.get_content_disposition() == "attachment" or part.get_filename():
        parts.attachments += 1
        return
    text = _text_of(part)
    shown = page_text(text) if kind == "text/html" else text
    if shown is None:
        raise _UnsoundError("holds a page whose tags or comments are never closed")
    parts.texts.append(shown)


def _best(children: list[Message]) -> Message:
    """Of the same text in several dresses (RFC 2046, 5.1.4), plain text, else the page, else the last."""
    for kind in ("text/plain", "text/html"):
        for child in children:
            if any(part.get_content_type() == kind for part in (child, *_inner(child))):
                return child
    return children[-1]


def _inner(part: Message) -> list[Message]:
    """The parts right inside a part: a page stands with its pictures in one of its own."""
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _text_of(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    charset = part.get_content_charset() or "utf-8"
    try:
        codec = codecs.lookup(charset).name
        if codec in _NO_CHARSETS:
            raise LookupError
        text = raw.decode("utf-8" if codec == "ascii" else codec)  # many say US-ASCII and write more
    except LookupError:
        raise _UnsoundError("is in an unknown character set", "TW-DATA-006") from None
    except UnicodeError as error:
        raise _UnsoundError(f"has a text that is not {codec}, as it says", "TW-DATA-006") from error
    return text.replace("\r\n", "\n")


def _header(message: Message, name: str) -> str:
    """``Subject: …`` with encoded words (RFC 2047) written out, on one line; empty where there is none."""
    value = message.get(name)
    if value is None:
        return ""
    try:
        written = str(make_header(decode_header(value)))
    except (LookupError, UnicodeError, ValueError, HeaderParseError):
        raise _UnsoundError(f"has a header `{name}` in an unknown character set", "TW-DATA-006") from None
    return f"{name.capitalize()}: {' '.join(written.split())}"
