"""The same value gets the same fake, another site's key another one, and a fake is found as what it stands for."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.domain.finding import Finding
from tuneward.inspection.accounts import luhn
from tuneward.inspection.inspector import standard
from tuneward.inspection.pseudonyms import Pseudonyms
from tuneward.inspection.redaction import Rewriter

SITE = Pseudonyms(b"site")
ALL = {"*": "pseudonymise"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "anna.bauer@firma.de"),
        ("email", "x@y.com"),
        ("phone", "+49 170 1234567"),
        ("phone", "0170 1234567"),
        ("phone", "(212) 555-0123"),
        ("phone", "+33 6 12 34 56 78"),
        ("phone", "07700 900123"),
        ("phone", "+39 347 1234567"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB82WEST12345698765432"),
        ("iban", "FR1420041010050500013M02606"),
        ("card", "4111 1111 1111 1111"),
        ("card", "378282246310005"),
        ("card", "5555-5555-5555-4444"),
    ],
)
def test_a_fake_is_another_value_of_the_same_kind(kind, value):
    fake = SITE.fake(kind, value)
    assert fake == SITE.fake(kind, value)
    assert fake not in (value, Pseudonyms(b"another site").fake(kind, value))
    text = f"Tel. or so: {fake} , thanks"
    assert [(f.kind, text[f.start : f.end]) for f in standard().inspect(text)] == [(kind, fake)]


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("phone", "+49 170 1234567", "0049 (170) 123-4567"),
        ("email", "Anna@Firma.de", "anna@firma.de"),
        ("iban", "DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("card", "4111111111111111", "4111 1111 1111 1111"),
        ("national_id", "85-01-01 123", "850101123"),
    ],
)
def test_ways_of_writing_do_not_matter(kind, one, other):
    assert re.sub(r"\W", "", SITE.fake(kind, one)) == re.sub(r"\W", "", SITE.fake(kind, other))


def test_a_national_and_an_international_number_stay_one_person_s():
    assert SITE.fake("phone", "+49 170 1234567").removeprefix("+49 ") == SITE.fake("phone", "0170 1234567")[1:]


def test_a_family_stays_a_family_and_a_name_agrees_with_its_address():
    anna, otto = SITE.fake("person", "Dr. Anna Bauer"), SITE.fake("person", "Otto Bauer")
    assert anna.startswith("Dr. ")
    assert anna.split()[-1] == otto.split()[-1] == SITE.fake("person", "Bauer")
    assert "Bauer" not in anna
    assert SITE.fake("email", "anna.bauer@firma.de").startswith(".".join(anna.lower().split()[1:]) + ".")
    assert SITE.fake("person", "ANNA-LENA bauer").upper().split()[0] == SITE.fake("person", "ANNA-LENA")


def test_houses_stay_together_and_lie_under_example_domains():
    one, other = (SITE.fake("email", f"{who}@firma.de").partition("@")[2] for who in ("anna", "otto"))
    assert one == other
    assert re.fullmatch(r"[0-9a-f]{5}\.example\.(com|net|org)", one)


def test_cards_and_accounts_check_out_and_belong_to_nobody():
    card = SITE.fake("card", "4111 1111 1111 1111").replace(" ", "")
    assert luhn(card)
    assert card.startswith("400000")
    iban = SITE.fake("iban", "DE89370400440532013000")
    assert iban[4:8] == "0000"
    assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def test_a_kind_without_a_fake_gets_a_keyed_tag():
    assert re.fullmatch(r"\[NATIONAL_ID_[0-9a-f]{8}\]", SITE.fake("national_id", "850101123"))
    assert SITE.fake("term:customers", "Acme").startswith("[TERM_CUSTOMERS_")
    assert SITE.fake("iban", "no iban").startswith("[IBAN_")


def test_the_key_is_not_shown():
    assert "site" not in repr(SITE)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["email", "phone", "iban", "card", "person", "ip", "mac", "url", "other"]), st.text(min_size=1))
def test_any_value_has_a_fake_that_differs(kind, value):
    fake = SITE.fake(kind, value)
    assert fake == SITE.fake(kind, value)
    assert fake.strip()
    assert fake != value or not any(map(str.isalnum, value))


def test_what_is_disguised_gets_the_fake_of_what_it_is():
    plain, hidden = "mail jane@example.com now", "mail j\u200bane@ex\u00adample.com now"
    rewriter = Rewriter(ALL, SITE)
    assert rewriter.rewrite(hidden, standard().inspect(hidden)) == rewriter.rewrite(plain, standard().inspect(plain))


def test_what_is_encoded_and_what_overlaps_more_than_one_finding_becomes_a_placeholder():
    rewriter = Rewriter(ALL, SITE)
    assert rewriter.rewrite("abcdef", [Finding("email", 1, 4, 0.9, "x", "base64")]) == "a[EMAIL]ef"
    over = [Finding("email", 0, 3, 0.9, "x"), Finding("phone", 2, 5, 0.8, "x")]
    assert rewriter.rewrite("abcdef", over) == "[EMAIL]f"
    mixed = Rewriter({"email": "pseudonymise", "*": "redact"}, SITE)
    assert mixed.rewrite("abcdef", [Finding("email", 0, 5, 0.9, "x"), Finding("phone", 2, 4, 0.99, "x")]) == "[PHONE]f"
    assert Rewriter(ALL).rewrite("abcdef", [Finding("email", 0, 5, 0.9, "x")]) == "[EMAIL]f"
