"""Names by what stands around them: introductions in five languages, titles, firms, contact blocks."""

import pytest

from tuneward.inspection.detectors import inspect
from tuneward.inspection.names import find_names


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("My name is Anna van Dijk and", "Anna van Dijk"),
        ("Dear Mr. O'Neill, we", "O'Neill"),
        ("Ich heiße Jürgen Groß.", "Jürgen Groß"),
        ("mi chiamo Lucia Rossi", "Lucia Rossi"),
        ("je m'appelle Zoé Martin", "Zoé Martin"),
        ("me llamo José García", "José García"),
        ("Name: Karin M. Beike", "Karin M. Beike"),
        ("Dr. Kyle Kuefer's answer", "Kyle Kuefer"),
        ("Patient: Anna Berg, 43", "Anna Berg"),
        ("Contact: Tom M. Sawyer\nPhone", "Tom M. Sawyer"),
        ("Best regards,\nTom Sawyer", "Tom Sawyer"),
        ("hi, my name is anna berg and i", "anna berg"),
        ("ich heiße jana.", "jana"),
        ("mi chiamo luca rossi", "luca rossi"),
        ("her maiden name is nyberg", "nyberg"),
    ],
)
def test_a_person_is_found(text, value):
    assert value in [text[f.start : f.end] for f in find_names(text) if f.kind == "person"]


@pytest.mark.parametrize(
    "text",
    [
        "Dear Customer, we",
        "Hello there",
        "This is The end",
        "I am Not sure",
        "my name is on it",
        "Hi, How are you",
        "my name is spelled wrong",
        "Doctor: Hello\nPatient: fine",
        "Doctor: Thanks\nPatient: bye",
        "Dear Patient, we",
    ],
)
def test_a_greeting_without_a_name_finds_nobody(text):
    assert [f for f in find_names(text) if f.kind == "person"] == []


def test_a_contact_block_gives_person_post_firm_and_address():
    text = "Karin M. Beike\nLeasing consultant\nFritz-Armstrong\n12 Baker Street\nMobile: 0170 1234567\n"
    kinds = {f.kind: text[f.start : f.end] for f in inspect(text)}
    assert kinds["person"] == "Karin M. Beike"
    assert kinds["title"] == "Leasing consultant"
    assert kinds["organisation"] == "Fritz-Armstrong"
    assert {"address", "phone"} <= kinds.keys()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("at Shepherd Ltd now", "Shepherd Ltd"),
        ("I work for Globex.", "Globex"),
        ("Müller & Söhne GmbH", "Müller & Söhne GmbH"),
        ("The Symcat office is closed.", "Symcat"),
        ("Yesterday the Golden Helix CEO left.", "Golden Helix"),
    ],
)
def test_an_organisation_is_found(text, value):
    assert value in [text[f.start : f.end] for f in find_names(text) if f.kind == "organisation"]


@pytest.mark.parametrize("text", ["The main office", "the Main Office", "Maria's shares", "Our Corporate headquarters"])
def test_a_house_without_a_name_is_none(text):
    assert [f for f in find_names(text) if f.kind == "organisation"] == []


def test_a_firm_above_an_address_is_no_person():
    text = "Anna Berg\nOverture Technologies\n12 Baker Street\n"
    assert [text[f.start : f.end] for f in find_names(text) if f.kind == "person"] == ["Anna Berg"]
