"""What each detector must find, and what it must leave alone; time linear in the text's length."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.growth import LINEAR, slowdown_of_text
from tuneward.inspection.accounts import find_cards, luhn
from tuneward.inspection.detectors import DETECTORS, inspect
from tuneward.inspection.secrets import find_secrets


def found(text: str, kind: str) -> list[str]:
    return [text[f.start : f.end] for f in inspect(text) if f.kind == kind]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mail jane.doe+claims@ex-ample.co.uk, please", "jane.doe+claims@ex-ample.co.uk"),
        ("'bob@x.de'", "bob@x.de"),
        ("<jörg@bücher.de>.", "jörg@bücher.de"),
        ("a sentence ends with o.k@firm.example.org.", "o.k@firm.example.org"),
        (r'{"note":"from\nann@example.org"}', "ann@example.org"),
    ],
)
def test_an_email_address_is_found(text, value):
    assert found(text, "email") == [value]


@pytest.mark.parametrize("text", ["a@b", "price @ 4.50", "@handle on x.com", "@@@@", "x@1.2.3.4", "user@localhost"])
def test_what_is_no_email_address_is_left_alone(text):
    assert found(text, "email") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("call +49 170 1234567 today", "+49 170 1234567"),
        ("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
        ("+393471234567", "+393471234567"),
        ("reach me under 0049 30 901820", "0049 30 901820"),
        ("(212) 555-0123", "(212) 555-0123"),
        ("1-800-555-0199", "1-800-555-0199"),
        ("ring 212.555.0123 x4587", "212.555.0123 x4587"),
        ("0170 1234567", "0170 1234567"),
        ("(030 1234567)", "(030 1234567)"),
        ("06 12 34 56 78", "06 12 34 56 78"),
        ("07700 900123", "07700 900123"),
        ("347 1234567", "347 1234567"),
        ("Tel. 612345678", "612345678"),
        ("my mobile is 01701234567.", "01701234567"),
        ("on 2024-03-17 0170 1234567 rang", "0170 1234567"),
        ("policy 8831, call 0170 1234567", "0170 1234567"),
        ("phone 212-555-0123-Office", "212-555-0123"),
        ("Policy number to follow.\nMarcus\n(606) 555-0156", "(606) 555-0156"),
        ("about my contract call 0170 1234567", "0170 1234567"),
    ],
)
def test_a_phone_number_is_found(text, value):
    assert found(text, "phone") == [value]


@pytest.mark.parametrize(
    "text",
    [
        "policy number 204-881-7712",
        "policy HX-204-881-7712",
        "Policy no. 0170 1234567",
        '{"policy_number":"POL-2024-0012345","amount":12450.50,"currency":"EUR","date_of_loss":"2024-03-17"}',
        '{"policy_number": "0042 1188 2231"}',
        "claim 00123456789",
        "Vertragsnummer 0151 2345678",
        "on 01.02.2024 and 03/04/2024 and 2024-05-06",
        "from 01/02/2024 05 items",
        "1 250 000.00 EUR, 12,450.00 USD, 3.141592653",
        "between 2019-2024 and 10:30 to 11:45",
        "192.168.10.255",
        "ISBN 978-3-16-148410-0",
        "1234567890123456789012345678901234567890",
        "we called it 3 times in 2 days",
        "SSN: 054-28-6917",
        "quote the reference of the phone call: 1422-8562",
    ],
)
def test_policy_numbers_dates_and_amounts_are_no_phone_numbers(text):
    assert found(text, "phone") == []


@pytest.mark.parametrize(
    "value",
    [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB29 NWBK 6016 1331 9268 19",
        "FR1420041010050500013M02606",
        "IT60X0542811101000000123456",
        "nl91abna0417164300",
    ],
)
def test_an_iban_with_right_check_digits_is_found_whole(value):
    assert found(f"pay to {value} please", "iban") == [value]
    assert [f.kind for f in inspect(f"pay to {value} please")] == ["iban"]


@pytest.mark.parametrize(
    "value",
    ["DE89370400440532013001", "DE8937040044053201300", "ZZ89370400440532013000", "XDE89370400440532013000", "AB12"],
)
def test_a_wrong_iban_is_left_alone(value):
    assert found(value, "iban") == []


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("4111 1111 1111 1111", "card.visa"),
        ("4111111111111111", "card.visa"),
        ("5555-5555-5555-4444", "card.mastercard"),
        ("2223003122003222", "card.mastercard"),
        ("3782 822463 10005", "card.amex"),
        ("6011111111111117", "card.discover"),
        ("30569309025904", "card.diners"),
        ("3530111333300000", "card.jcb"),
    ],
)
def test_a_card_number_is_found_with_its_issuer(value, rule):
    text = f"card {value}, thanks"
    assert found(text, "card") == [value]
    assert [f.rule for f in inspect(text) if f.kind == "card"] == [rule]


def test_a_card_is_found_with_its_expiry_date_behind_it():
    assert found("card 4111 1111 1111 1111 12/25", "card") == ["4111 1111 1111 1111"]


@pytest.mark.parametrize(
    "text",
    ["4111111111111112", "policy 4111111111111111", "9111111111111111", "HX-4111111111111111", "41111111111111111111"],
)
def test_what_is_no_card_number_is_left_alone(text):
    assert found(text, "card") == []


@given(st.text("0123456789", min_size=2, max_size=19), st.integers(0, 18), st.integers(1, 9))
def test_luhn_sees_every_single_wrong_digit(body, place, change):
    check = next(d for d in "0123456789" if luhn(body + d))
    number = body + check
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not luhn(wrong)


SECRETS = {
    "api_key.aws": "AKIAIOSFODNN7EXAMPLE",
    "api_key.openai_like": "sk-proj-Ab3dEf6hIj9kLm2nOp5q",
    "api_key.github": "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8",
    "api_key.slack": "xoxb-2345678901-abcdefGHIJ",
    "api_key.google": "AIza" + "Sy0123456789abcdefghijklmnopqrstuvwxy"[:35],
    "api_key.stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "api_key.hugging_face": "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEF",
    "jwt.three_parts": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "private_key.block": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize(("rule", "value"), SECRETS.items(), ids=SECRETS)
def test_a_vendors_key_is_found_whole(rule, value):
    text = f"here: {value} end"
    assert (rule, value) in [(f.rule, text[f.start : f.end]) for f in inspect(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("api_key=Zx81kfA93kdlWq81", "api_key", "Zx81kfA93kdlWq81"),
        ('{"client_secret": "q8Fj2Lm9Zr4Tt7Wc"}', "api_key", "q8Fj2Lm9Zr4Tt7Wc"),
        ("the password: hunter2x!", "password", "hunter2x!"),
        ("Kennwort: sommer2024x", "password", "sommer2024x"),
        ("contraseña: verano2024x", "password", "verano2024x"),
        ("mot de passe : soleil2024x", "password", "soleil2024x"),
        ("postgres://app:pa55w0rd@db.local/x", "connection_string", "pa55w0rd"),
        ("redis://:pa55w0rd@cache.local:6379/0", "connection_string", "pa55w0rd"),
        ("Authorization: Bearer abcDEF123456ghiJKL7890", "api_key", "abcDEF123456ghiJKL7890"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc", "private_key", "-----BEGIN PRIVATE KEY-----\nMIIabc"),
    ],
)
def test_a_secret_beside_a_word_is_found(text, kind, value):
    assert value in found(text, kind)


def test_a_token_with_a_right_checksum_is_surer_than_one_without():
    right, wrong = "ghp_" + "A" * 30 + "0uCPlr", "ghp_" + "A" * 36
    assert [f.confidence for f in find_secrets(right)] > [f.confidence for f in find_secrets(wrong)]


@pytest.mark.parametrize(
    "text",
    [
        "the token economy is important to understanding",
        "I forgot my password, please reset it",
        "the secret is understanding everything",
        "Zx81kfA93kdlWq81 stands alone",
        "sk-ating and hf_ and ghp_ and eyJ",
        "policy number: CLM-2024-0012345",
        "password: forgotten",
    ],
)
def test_prose_holds_no_secret(text):
    assert [f for f in inspect(text) if f.kind in {"api_key", "password", "private_key", "jwt"}] == []


def test_a_phone_or_card_inside_a_proven_finding_is_not_reported_again():
    assert [f.kind for f in inspect("IBAN DE89 3704 0044 0532 0130 00")] == ["iban"]


ADVERSARIAL = {
    "digits": "1", "spaced digits": "1 ", "dashed": "0-", "at signs": "a@", "only at": "@", "plus": "+4", "letter": "a",
    "jwt heads": "eyJ", "jwt parts": "eyJaaaaaaaaa.", "key heads": "-----BEGIN PRIVATE KEY-----", "ibans": "DE89 ",
    "passwords": "password: ", "secrets": "secret=a1", "prefix": "sk-", "urls": "a://b:c", "escapes": "\\n",
    "dates": "01.02.2024 ", "phones": "tel 0170 1234567 ", "cards": "4111 1111 1111 1111 ", "domains": "a@b.c.",
    "numbered names": "12 Ab ", "names": "Anna Maria ", "hexes": "a:1:", "streets": "Via Roma 1\n", "flats": "apt 1, ",
    "ages": "aged 1 ", "born": "born 1.1.2000 ", "labels": "passport no ", "name labels": "name: ", "titles": "Dr. ",
    "lines": "Anna Berg\n", "points": "a.com.", "degrees": "1.1234 ", "months": "1 May ", "ids": "ssn 123-45-6789 ",
    "words": "diabetes ", "firms": "Berg Ltd ", "capitals": "A", "codes": "A1 1AA ", "brackets": "(0)",
    "zeros": "00 ", "bearers": "bearer\t\t\t", "policies": "policy 1 ", "opening": "(",
}  # fmt: skip


@pytest.mark.parametrize("detector", dict.fromkeys(DETECTORS.values()), ids=lambda detector: detector.__name__)
@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_no_text_makes_a_detector_slower_than_its_length(unit, detector):
    """Four times the text takes some four times the time; quadratic work would take 16 times as long."""
    assert slowdown_of_text(detector, unit, characters=16_000) < LINEAR


def test_a_megabyte_is_inspected_in_one_piece():
    text = "".join(ADVERSARIAL.values()) * 2000
    assert all(0 <= f.start < f.end <= len(text) for f in inspect(text[:1_000_000]))


SEEDS = ["jane@example.org", "+49 170 1234567", "DE89370400440532013000", "4111 1111 1111 1111", *SECRETS.values()]
texts = st.lists(
    st.one_of(
        st.sampled_from(SEEDS), st.text(max_size=20), st.sampled_from(["\ud800", "\x00", "\u202e", " ", "-", "1"])
    )
).map("".join)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_offsets_are_valid_and_the_order_of_rules_changes_nothing(text):
    findings = inspect(text)
    assert all(0 <= f.start < f.end <= len(text) and 0 < f.confidence <= 1 for f in findings)
    assert findings == sorted(findings, key=lambda f: f.start)
    for order in itertools.islice(itertools.permutations(DETECTORS), 0, 120, 37):
        assert inspect(text, kinds=order) == findings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class sk-loading-indicator-container", False),
        ("class sk-fading-circle-wrapper-2-columns", False),
        ("sk-abcdEFGH1234ijklMNOP5678qrstUVWX9012yzABCD3456ef", True),
        ("sk-proj-aB3dE5fG7h-J9kL1mN3pQ5rS7_tU9vW1xY3zA5bC7dE9", True),
        ("sk-ant-api03-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7-dE9AA", True),
    ],
)
def test_keys_are_told_from_class_names(text, found):
    assert any(finding.rule == "api_key.openai_like" for finding in find_secrets(text)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("marks 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", False),
        ("4111 1111 1111 1111", True),
        ("4111111111111111", True),
        ("4222222222222", True),
        ("4006381000093", False),
        ("visa 4006381000093", True),
    ],
)
def test_cards_are_told_from_lists_and_article_numbers(text, found):
    assert bool(list(find_cards(text))) is found
