"""The faults of newer kinds: identifiers in disguise, and the mails of an agency that may train only with consent.

Place on the road: beside ``make_data.py``. Nothing here changes a word that the model learns: a disguised address is
redacted as a plain one is, and the agency's rows leave, but for those of three customers who may still withdraw.
"""

import base64
import json
import random
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from mails import Mail

AGENCY_FIRST_CUSTOMER = 80_000
#: How many of the agency's mails have which fault; each stands in rows of its own, but for what ``LETTERHEAD`` adds.
AGENCY = {
    "consent_expired": 6,
    "retention_passed": 4,
    "broken_json": 6,
    "assistant_phrase": 5,
    "placeholder": 4,
    "outside_schema": 4,
}
#: Customers of the agency whose consent holds until they withdraw it.
WITHDRAWN = 3
#: What stands in the agency's mails besides: their records are faulty, so that all these rows leave.
LETTERHEAD = {"confidential": 4, "password": 3, "api_key": 2, "email": 2}
#: Kind → in which disguises, one row each.
DISGUISES = {
    "iban": ("zero_width", "full_width", "base64", "zero_width"),
    "email": ("zero_width", "url", "base64", "full_width"),
    "card": ("zero_width", "base64"),
}
_STAMPS = ("STRICTLY CONFIDENTIAL", "CONFIDENTIAL", "FOR INTERNAL USE ONLY", "CONFIDENTIAL")
_PHRASES = (
    "As an AI language model, I cannot verify this claim. Here is the record: {record}",
    "Certainly! Here is the triage record for this e-mail: {record}",
    "I'm sorry, but as an AI I do not have access to the policy. {record}",
    "{record}\nI hope this helps! Let me know if you have any further questions.",
    "As a language model I can only guess: {record}",
)
_PLACEHOLDERS = ("{policy_number}", "[POLICY NUMBER]", "{{ policy_number }}", "<policy number>")
_OUTSIDE = (
    {"severity": "urgent"},
    {"category": "other"},
    {"amount": "about 500"},
    {"currency": "pounds"},
)


@dataclass
class Row:
    """A row to be written; ``marks`` are plants that ``planted.json`` names by the row's final line.

    Attributes:
        mail: the mail.
        answer: its record.
        text: what stands in the record's place where the record is faulty.
        marks: what was done to the row: a kind, and the row that it is ``of`` where it copies one.
        disguises: identifiers as they stand in the mail → how they are disguised.
        more: further columns.
    """

    mail: Mail
    answer: dict[str, Any]
    text: str | None = None
    marks: list[dict[str, Any]] = field(default_factory=list)
    disguises: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)


def compact(record: dict[str, Any]) -> str:
    """A record as it stands in the answer."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def disguise(rows: list[Row]) -> None:
    """Put some of the identifiers that were planted on purpose into a disguise; the rows are changed in place."""
    for kind, ways in DISGUISES.items():
        carriers = [row for row in rows if row.mail.planted and row.mail.identifiers[0][0] == kind]
        for row, way in zip(carriers, ways, strict=False):
            shown = row.mail.identifiers[0][1]
            before, _, after = row.mail.prompt.rpartition(shown)
            hidden = disguised(shown, way)
            identifiers = ((kind, hidden), *row.mail.identifiers[1:])
            row.mail = replace(row.mail, prompt=before + hidden + after, identifiers=identifiers)
            row.disguises[hidden] = way


def disguised(text: str, way: str) -> str:
    """A text as a filter, a mail program or somebody who fears both would write it."""
    if way == "zero_width":
        return "\u200b".join(text[i : i + 3] for i in range(0, len(text), 3))
    if way == "full_width":
        return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)
    if way == "base64":
        return base64.b64encode(text.encode()).decode()
    if way == "url":
        return quote(text, safe="")
    assert way == "words", way
    return unicodedata.normalize("NFC", text).replace("@", " at ").replace(".", " dot ")


def agency_rows(rng: random.Random, mails: list[Mail], staying: list[Row]) -> list[Row]:
    """The agency's rows: ``staying`` ones whose consent will be withdrawn, then one row for each fault.

    Args:
        rng: every draw comes from it.
        mails: one for each fault.
        staying: rows of customers whose consent still holds; they come first, so that what trains keeps its order.
    """
    kinds = [kind for kind, count in AGENCY.items() for _ in range(count)]
    assert len(mails) == len(kinds)
    rows = []
    for row in staying:
        row.marks.append({"kind": "consent_withdrawn"})
        rows.append(row)
    faulty = [Row(mail, dict(mail.answer)) for mail in mails]
    rng.shuffle(faulty)
    for number, (kind, row) in enumerate(zip(kinds, faulty, strict=True)):
        row.text = _faulty(kind, row.answer, number)
        row.marks.append({"kind": kind})
        rows.append(row)
    _letterheads(rng, [row for row in rows if row.text is not None])
    for number, row in enumerate(rows):
        kind = row.marks[0]["kind"]
        held = timedelta(days=rng.randint(60, 120) if kind == "consent_expired" else 9 * 365)
        kept = timedelta(days=rng.randint(60, 120) if kind == "retention_passed" else 10 * 365)
        reference = f"AG-{number + 1:04}"
        if kind == "consent_withdrawn":
            row.marks[0]["consent"] = reference
        row.more = {
            "consent": reference,
            "consent_until": (row.mail.received.date() + held).isoformat(),
            "keep_until": (row.mail.received.date() + kept).isoformat(),
        }
    return rows


def _faulty(kind: str, record: dict[str, Any], number: int) -> str | None:
    """The record as a clerk's tool has spoilt it, or None where the record is right and the row is not."""
    if kind == "broken_json":
        text = compact(record)
        return text[: len(text) * (4 + number % 4) // 9]
    if kind == "assistant_phrase":
        return _PHRASES[number % len(_PHRASES)].replace("{record}", compact(record))
    if kind == "placeholder":
        return compact({**record, "policy_number": _PLACEHOLDERS[number % len(_PLACEHOLDERS)]})
    if kind == "outside_schema":
        return compact({**record, **_OUTSIDE[number % len(_OUTSIDE)]})
    return None


def _letterheads(rng: random.Random, rows: list[Row]) -> None:
    """What agencies leave in what they forward: stamps, a login, a key, an address written out."""
    wanted = [kind for kind, count in LETTERHEAD.items() for _ in range(count)]
    for number, (kind, row) in enumerate(zip(wanted, rows, strict=False)):
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ234567"
        way = "words" if kind == "email" else ""
        if kind == "confidential":
            text = _STAMPS[number % len(_STAMPS)]
            prompt = f"{text}\n{row.mail.prompt}"
        elif kind == "password":
            text = rng.choice(["Regen", "Hagel", "Sturm"]) + str(rng.randint(1000, 9999)) + rng.choice("!?#")
            prompt = f"{row.mail.prompt}\nAgency portal, password: {text}"
        elif kind == "api_key":
            text = "AK" + "IA" + "".join(rng.choice(letters) for _ in range(16))
            prompt = f"{row.mail.prompt}\nPhotos are in our bucket, key {text}"
        else:
            text = disguised(row.mail.customer.mailbox, way)
            prompt = f"{row.mail.prompt}\nAnswer to {text} please."
        row.mail = replace(row.mail, prompt=prompt, identifiers=(*row.mail.identifiers, (kind, text)))
        if way:
            row.disguises[text] = way
