"""Postcodes that stand alone: forms of countries, and plain digits beside words of place."""

import pytest

from tuneward.inspection.postcodes import find_postcodes


def found(text):
    return [text[f.start : f.end] for f in find_postcodes(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("at SW1A 1AA now", "SW1A 1AA"),
        ("in CA 94107.", "94107"),
        ("NY 10001-1234", "10001-1234"),
        ("Ottawa K1A 0B1", "K1A 0B1"),
        ("try 01310-100 first", "01310-100"),
        ("or 20500-0003?", "20500-0003"),
        ("he wrote to CH-8001 Zürich", "CH-8001"),
        ("send it to D-10115 Berlin", "D-10115"),
        ("a flat in 1017 GK, please", "1017 GK"),
        ("they moved to 3520-214.", "3520-214"),
        ("any shops in 00-950 Warszawa?", "00-950"),
        ("a house near 394 13.", "394 13"),
        ("what is there around 94107?", "94107"),
        ("the weather in 75002", "75002"),
        ("deliver to 10115, please", "10115"),
        ("a doctor in Springfield 62701.", "62701"),
        ("they live in 3520 Farum.", "3520"),
    ],
)
def test_a_postcode_is_known_by_its_form_or_place(text, value):
    assert found(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "in 1987, and in 1347.",
        "In 1237 Batu Khan came",
        "the population grew to 15423.",
        "a crowd of 25000.",
        "around 12000 people",
        "text STORE to 88039.",
        "the card ending in 4321.",
        "in 2000 AD",
        "lift 1200 KG",
        "pages 10-120",
        "costs $94107",
        "numbers 12345 67890",
        "invoice 2024-12345-678",
        "version 1.2.34567",
    ],
)
def test_years_counts_and_short_codes_are_no_postcodes(text):
    assert found(text) == []
