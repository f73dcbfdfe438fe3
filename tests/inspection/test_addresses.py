"""Postal addresses of six countries, with what goes on behind the street, and the postcodes in them."""

import pytest

from tuneward.inspection.addresses import find_addresses
from tuneward.inspection.detectors import inspect
from tuneward.inspection.redaction import redact


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lives at 221b Baker Street, London NW1 6XE.", "221b Baker Street, London NW1 6XE"),
        ("to 1600 Pennsylvania Ave, Washington, DC 20500 now", "1600 Pennsylvania Ave, Washington, DC 20500"),
        ("in der Goethestraße 12, 10115 Berlin.", "Goethestraße 12, 10115 Berlin"),
        ("in Via Roma 131, 00184 Roma.", "Via Roma 131, 00184 Roma"),
        ("au 20 Rue de la Paix, 75002 Paris.", "20 Rue de la Paix, 75002 Paris"),
        ("en C/ Mayor, 5, 28013 Madrid.", "C/ Mayor, 5, 28013 Madrid"),
        ("PSC 1437, Box 3833\nAPO AA 66791", "PSC 1437, Box 3833\nAPO AA 66791"),
        ("P.O. Box 149", "P.O. Box 149"),
        ("at the corner of 74 Main Street and Elm Road", "the corner of 74 Main Street and Elm Road"),
        ("write to 28030 Edeby 55\n Apt. 297", "28030 Edeby 55\n Apt. 297"),
    ],
)
def test_an_address_is_found_with_its_town(text, value):
    assert value in [text[f.start : f.end] for f in inspect(text) if f.kind == "address"]


@pytest.mark.parametrize(
    "text",
    [
        "12 apples and 3 pears",
        "on 5 May 2020",
        "chapter 4 of Part 2",
        "he ran 20 Miles",
        "I have 3 Court dates",
        "Apollo 11",
    ],
)
def test_counts_and_dates_are_no_addresses(text):
    assert list(find_addresses(text)) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("lives at 221b Baker Street, London NW1 6XE.", "NW1 6XE"),
        ("au 20 Rue de la Paix, 75002 Paris.", "75002"),
        ("PSC 1437, Box 3833\nAPO AA 66791", "66791"),
        ("12 High Street\nSpringfield\n3520", "3520"),
    ],
)
def test_the_postcode_of_an_address_is_named_too(text, code):
    assert code in [text[f.start : f.end] for f in inspect(text) if f.kind == "postcode"]
    assert redact(text, inspect(text)).count("[ADDRESS]") == 1


def test_a_flat_is_no_postcode():
    text = "write to 28030 Edeby 55\n Apt. 2975"
    assert [f for f in inspect(text) if f.kind == "postcode"] == []


@pytest.mark.parametrize("date", ["Sat, 10 Feb 2024", "Mon, 3 Jun 2024"])
def test_the_date_of_a_mail_above_its_sender_is_no_address(date):
    text = f"Date: {date}\nFrom: Priya Fairweather <priya@example.org>\nSubject: a claim"
    assert [f for f in find_addresses(text) if f.kind == "address"] == []


@pytest.mark.parametrize(
    "text",
    [
        "Subject: Claim MV 626 9950\nHello again",
        "the contract number LI 571 5514.\nOn 20/01/25 I",
        "Police reference AZ 895 Js 296/25. That makes",
        "the reference is AZ 224 Js 192/25.\nThe coffee",
        "IBAN GB35 XTUN 9999 9966 1080 40.\nYours",
        "Svetlana\nTel. 030 23125 825",
        "IT WAS NICE 2 CATCH UP BUT WE AVE 2 FIND MORE",
        "I DECIDED 2 GO N E WAY",
        "Can u 4fil theirs?",
        "WE R SORRY 4 THE INCONVENIENCE",
        "Call 08718738001 Identifier Code 41782 Expires 18/11/04",
        "Identifier Code: 40533 Expires 31/10/04",
        "text the word WIN to 80086 NOW. 18 T&C",
        "in ur area 4 just 25p Free 2 receive",
        "Sent: Sunday, 29 June 2025\nI HAVE BEEN ON HOLD FOR 50 MINUTES",
    ],
)
def test_numbers_of_policies_files_accounts_and_telephones_are_no_addresses(text):
    assert [f for f in find_addresses(text) if f.kind == "address"] == []


def test_a_name_and_numbers_with_a_town_behind_them_are_one():
    (found,) = [f for f in find_addresses("Please send it to Am Anger 12 99084 Erfurt.") if f.kind == "address"]
    assert found.end == len("Please send it to Am Anger 12 99084 Erfurt")


@pytest.mark.parametrize("address", ["Kossuth u. 5", "R. Augusta 3", "28030 Edeby 55", "PO BOX 434"])
def test_short_streets_words_and_numbers_around_a_name_are_addresses(address):
    (found,) = [f for f in find_addresses(f"It went to {address}, as ever.") if f.kind == "address"]
    assert found.start == len("It went to ")
