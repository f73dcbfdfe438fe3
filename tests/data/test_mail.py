"""Mails: their text, no headers that nobody asked for, attachments counted; hostile ones refused with their place."""

from email.message import EmailMessage

import pytest
from data_cases import prepare
from reader_cases import read_all, rows_of

from tuneward.data import mail


def message(text="Hello,\n\nthe claim is settled.\n", **headers):
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = "Your claim – é", "Ann <ann@example.org>", "ben@example.org"
    for name, value in headers.items():
        made[name] = value
    if text is not None:
        made.set_content(text)
    return made


def mbox(*messages):
    line = b"From ann@example.org Mon Jan  1 00:00:00 2024\n"
    return b"".join(line + m.as_bytes() + b"\n" for m in messages)


def texts(path, **limits):
    rows, faults = read_all(path, **limits)
    assert faults == []
    return [row.values["text"] for row in rows]


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("transfer", ["base64", "quoted-printable"])
def test_the_text_of_a_mail_whatever_it_is_written_in(tmp_path, charset, transfer):
    made = message(None)
    made.set_content("Grüße,\n\nÜbermorgen.\n", charset=charset, cte=transfer)
    (tmp_path / "a.eml").write_bytes(made.as_bytes().replace(b"\n", b"\r\n"))
    assert texts(tmp_path / "a.eml") == ["Grüße,\n\nÜbermorgen."]


def test_headers_are_read_only_where_they_are_wanted(tmp_path):
    (tmp_path / "a.eml").write_bytes(message().as_bytes())
    assert texts(tmp_path / "a.eml") == ["Hello,\n\nthe claim is settled."]
    assert texts(tmp_path / "a.eml", mail_headers=("subject", "from", "date")) == [
        "Subject: Your claim – é\nFrom: Ann <ann@example.org>\n\nHello,\n\nthe claim is settled."
    ]


def test_plain_text_is_taken_before_the_page_and_a_page_where_there_is_no_other(tmp_path):
    both = message("Plain.\n")
    both.add_alternative("<p>Page.</p>", subtype="html")
    page = message(None)
    page.set_content("<h1>Claim</h1><p>is <b>settled</b></p><script>x()</script>", subtype="html")
    (tmp_path / "both.eml").write_bytes(both.as_bytes())
    (tmp_path / "page.eml").write_bytes(page.as_bytes())
    assert texts(tmp_path / "both.eml") == ["Plain."]
    assert texts(tmp_path / "page.eml") == ["Claim\n\nis settled"]


def test_attachments_are_counted_and_not_read(tmp_path):
    made = message()
    made.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="claim.pdf")
    made.add_attachment("secret notes", filename="notes.txt")
    made.add_attachment(message("inside"), filename="old.eml")
    (tmp_path / "a.eml").write_bytes(made.as_bytes())
    rows, faults = read_all(tmp_path / "a.eml")
    assert ([row.values["text"] for row in rows], faults) == (["Hello,\n\nthe claim is settled."], [])
    assert [row.attachments for row in rows] == [3]


def test_a_mailbox_is_read_message_by_message_each_with_its_line(tmp_path):
    only = message(None)
    only.add_attachment(b"x", maintype="application", subtype="pdf", filename="x.pdf")
    content = mbox(only, message("One.\n\n>From here on.\n"), message("Two.\n\nFrom nowhere.\n"), only)
    (tmp_path / "a.mbox").write_bytes(content)
    rows, faults = read_all(tmp_path / "a.mbox")
    assert faults == []
    assert [row.values["text"] for row in rows] == ["One.\n\nFrom here on.", "Two.\n\nFrom nowhere."]
    lines = content.split(b"\n")
    assert all(lines[row.source.line - 1].startswith(b"From ann@") for row in rows)
    assert sum(row.attachments for row in rows) == 2


def test_long_mails_come_in_sections_of_their_own_places(tmp_path):
    long = "\n\n".join(f"Paragraph {n} " + "word " * 100 for n in range(300))
    (tmp_path / "a.mbox").write_bytes(mbox(message(long), message("Short.")))
    (tmp_path / "a.eml").write_bytes(message(long).as_bytes())
    for name in ("a.mbox", "a.eml"):
        rows, faults = read_all(tmp_path / name)
        assert faults == []
        assert len({row.source.line for row in rows}) == len(rows) > 3


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"Subject: x\n\n", ("TW-DATA-039", "a.eml")),
        (b'Content-Type: text/plain; charset="klingon"\n\nx\n', ("TW-DATA-006", "a.eml")),
        (b'Content-Type: text/plain; charset="punycode"\n\nx\n', ("TW-DATA-006", "a.eml")),
        (b'Content-Type: text/plain; charset="utf-8"\n\ncaf\xe9\n', ("TW-DATA-006", "a.eml")),
        (b"Content-Type: application/pkcs7-mime\n\nx\n", ("TW-DATA-042", "a.eml")),
        (b'Content-Type: multipart/encrypted; boundary="b"\n\n--b\n\nx\n--b--\n', ("TW-DATA-042", "a.eml")),
        (b"Content-Type: text/html\n\n" + b"<!--" * 1_000, ("TW-DATA-042", "a.eml")),
    ],
)
def test_mails_that_cannot_be_read(tmp_path, content, fault):
    (tmp_path / "a.eml").write_bytes(content)
    assert rows_of(tmp_path / "a.eml") == ([], [fault])


def test_a_mail_nested_beyond_reason_is_refused(tmp_path):
    depth = 500
    head = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(depth))
    (tmp_path / "a.eml").write_bytes(b"Subject: x\n" + head + b"Content-Type: text/plain\n\nx\n")
    assert rows_of(tmp_path / "a.eml") == ([], [("TW-DATA-042", "a.eml")])
    parts = b"".join(b"--b\nContent-Type: text/plain\n\nx\n" for _ in range(2_000))
    (tmp_path / "a.eml").write_bytes(b'Content-Type: multipart/mixed; boundary="b"\n\n' + parts)
    assert rows_of(tmp_path / "a.eml") == ([], [("TW-DATA-042", "a.eml")])


def test_a_mailbox_that_is_none_and_a_message_that_is_too_large(tmp_path, monkeypatch):
    (tmp_path / "a.mbox").write_bytes(b"Dear diary,\n\nFrom a@b Mon Jan  1 00:00:00 2024\n\nx\n")
    assert rows_of(tmp_path / "a.mbox")[1] == [("TW-DATA-042", "a.mbox")]
    monkeypatch.setattr(mail, "MAX_MAIL_BYTES", 1_000)
    content = mbox(message("One."), message("word " * 1_000), message("Three."))
    (tmp_path / "a.mbox").write_bytes(content)
    rows, faults = rows_of(tmp_path / "a.mbox")
    assert [values["text"] for _, values in rows] == ["One.", "Three."]
    assert [code for code, _ in faults] == ["TW-DATA-040"]


def test_mails_train_as_documents_and_the_card_counts_what_was_not_read(tmp_path):
    made = message("Some words of a mail.")
    made.add_attachment(b"x", maintype="image", subtype="png", filename="x.png")
    (tmp_path / "a.eml").write_bytes(made.as_bytes())
    prepared = prepare(tmp_path, train=["a.eml"], form="document")
    assert [record.messages[0].content for record in prepared.train] == ["Some words of a mail."]
    assert prepared.counts["attachments_not_read"] == 1


def test_a_part_with_a_name_is_an_attachment_even_where_it_is_not_called_one(tmp_path):
    head = b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nHello.\n'
    part = b'--b\nContent-Type: text/plain; name="notes.txt"\n\nNotes.\n--b--\n'
    (tmp_path / "a.eml").write_bytes(head + part)
    rows, faults = read_all(tmp_path / "a.eml")
    assert ([row.values["text"] for row in rows], faults, rows[0].attachments) == (["Hello."], [], 1)
