"""National identifiers: right check digits are found, wrong ones are not, weak ones need their word."""

import pytest

from tuneward.inspection.identifiers import find_national_ids


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("536-90-4399", "us.ssn"),
        ("social security number is 853-37-1694", "us.ssn"),
        ("912-90-3456", "us.itin"),
        ("AB 12 34 56 C", "gb.nino"),
        ("NHS number 943 476 5919", "gb.nhs"),
        ("Steuer-ID: 36 574 261 809", "de.idnr"),
        ("RCCMNL83S18D969H", "it.codice_fiscale"),
        ("2 95 10 99 126 111 93", "fr.nir"),
        ("54362315K", "es.dni"),
        ("X2482300W", "es.nie"),
        ("BSN 111222333", "nl.bsn"),
        ("PESEL 44051401359", "pl.pesel"),
        ("131052-308T", "fi.hetu"),
        ("CNP 1630615123457", "ro.cnp"),
        ("OIB 33392005961", "hr.oib"),
        ("isikukood 36805280109", "ee.ik"),
    ],
)
def test_an_identifier_is_found(text, rule):
    assert f"national_id.{rule}" in [f.rule for f in find_national_ids(text)]


@pytest.mark.parametrize(
    "text",
    [
        "000-12-3456",
        "666-12-3456",
        "943 476 5919",
        "NHS number 943 476 5918",
        "36 574 261 809",
        "RCCMNL83S18D969X",
        "54362315A",
        "GB 12 34 56 C",
        "PESEL 44051401358",
        "order 111222333",
        "131052-308X",
    ],
)
def test_a_wrong_check_or_a_missing_word_finds_nothing(text):
    assert list(find_national_ids(text)) == []
