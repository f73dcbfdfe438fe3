"""Each view shows what the raw text hides, and every character of it leads back to the raw text."""

import base64
import itertools
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneward.inspection.decoding import decoded
from tuneward.inspection.disguises import normalised, views_of
from tuneward.inspection.inspector import standard
from tuneward.inspection.normalisation import plain_characters
from tuneward.inspection.spelling import joined_spelling
from tuneward.inspection.views import Edit, edited

EMAIL = "anna.bauer@firma.de"
CARD = "4111 1111 1111 1111"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(character)) for character in text)


def selectors(text: str) -> str:
    return "".join(chr(0xFE00 + byte if byte < 16 else 0xE0100 + byte - 16) for byte in text.encode())


@pytest.mark.parametrize(
    ("hidden", "kind", "view"),
    [
        ("аnna.bauer@firmа.de", "email", "normalised"),  # Cyrillic а
        ("an\u200bna.bau\u00ader@\u2060firma.de", "email", "normalised"),
        ("ａｎｎａ．ｂａｕｅｒ＠ｆｉｒｍａ．ｄｅ", "email", "normalised"),
        ("𝐚𝐧𝐧𝐚.𝐛𝐚𝐮𝐞𝐫@𝐟𝐢𝐫𝐦𝐚.𝐝𝐞", "email", "normalised"),
        ("a n n a . b a u e r @ f i r m a . d e", "email", "normalised"),
        ("anna . bauer @ firma . de", "email", "normalised"),
        ("anna.bauer (at) firma (dot) de", "email", "normalised"),
        ("anna[at]firma.de", "email", "normalised"),
        ("anna dot bauer at firma dot de", "email", "normalised"),
        ("anna chiocciola firma punto it", "email", "normalised"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "card", "normalised"),
        ("4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", "card", "normalised"),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "card", "normalised"),
        ("4111\u200b1111\u200b1111\u200b1111", "card", "normalised"),
        ("4111‐1111‐1111‐1111", "card", "normalised"),
        ("four one five, five five five, one two three four", "phone", "normalised"),
        ("null eins sieben null, eins zwei drei vier fünf sechs sieben", "phone", "normalised"),
        ("zéro un quatre deux, six huit trois sept cinq neuf", "phone", "normalised"),
        ("phone three four seven, double one two three four five six", "phone", "normalised"),
        (b64(f"write to {EMAIL}"), "email", "base64"),
        (base64.urlsafe_b64encode(f"{CARD} ÿ~ÿ?".encode()).decode().rstrip("="), "card", "base64"),
        (EMAIL.encode().hex(), "email", "hex"),
        (EMAIL.encode().hex(" "), "email", "hex"),
        ("".join(f"\\x{byte:02x}" for byte in EMAIL.encode()), "email", "hex"),
        (EMAIL.replace("@", "%40"), "email", "url"),
        ("".join(f"%{byte:02X}" for byte in EMAIL.encode()), "email", "url"),
        (tags(EMAIL), "email", "tags"),
        (selectors(EMAIL), "email", "tags"),
        (b64(quote(EMAIL, safe="")), "email", "base64>url"),
        (b64(b64(EMAIL)), "email", "base64>base64"),
        (quote(b64(f"{EMAIL}?>")), "email", "url>base64"),
        (b64(EMAIL.encode().hex()), "email", "base64>hex"),
        (b64("a n n a @ f i r m a . d e"), "email", "base64>normalised"),
        ("\u200b".join(b64(EMAIL)), "email", "normalised>base64"),
    ],
)
def test_what_is_hidden_is_found_at_its_place(hidden, kind, view):
    text = f"Bitte: {hidden} , danke sehr."
    found = [f for f in standard().inspect(text) if f.kind == kind]
    assert [f.view for f in found] == [view]
    start, end = found[0].start, found[0].end
    inside = text[start:end].strip(" ,")
    assert inside
    assert inside in hidden
    assert len(inside) >= 0.6 * len(hidden) or view == "normalised"


@pytest.mark.parametrize(
    "text",
    [
        "I look at work. Thanks for everything dot your friend",
        "He is not exercising at this point and has a diet; he fell at some point near the onset.",
        "Count with me: 1 2 3 4 5 6 7 8 9 10 11",
        "one two three four five six seven eight nine",
        "Москва — столица России, а Волга — река.",
        "One of them gave two of the three apples to four friends.",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "/usr/local/lib/python3/site-packages/SomePackage/InternalModule",
        "50% of 20%40 is not much",
        "The C.D.B. and the E.K. met at 3 p.m. (at noon, dot by dot).",
        "x = a * b + c - d / e",
        "👩‍👩‍👧‍👦 and 👍🏽 and ❤️",
        "Größe, cœur, naïve, señor, perché — “quoted”, ‘so’… 5 – 6 €",
    ],
)
def test_nothing_is_found_where_nothing_is_hidden(text):
    assert standard().inspect(text) == []


def test_what_the_raw_text_shows_is_told_once_and_as_raw():
    text = f"{EMAIL} and an\u200bna@x.org and {b64(EMAIL)} and аnna, {EMAIL}"
    found = [(f.view, text[f.start : f.end]) for f in standard().inspect(text)]
    assert found == [("raw", EMAIL), ("normalised", "an\u200bna@x.org"), ("base64", b64(EMAIL)), ("raw", EMAIL)]


def test_three_wrappings_are_one_too_many():
    assert standard().inspect(b64(b64(b64(EMAIL)))) == []


def test_words_beside_an_encoded_number_count():
    text = f"Tel. {b64('612345678')}!"
    assert [(f.kind, text[f.start : f.end]) for f in standard().inspect(text)] == [("phone", b64("612345678"))]


def test_a_key_longer_than_a_neighbourhood_is_found_whole():
    lines = "\n".join("MIIEowIBAAKCAQEA7bq0vJ" * 3 for _ in range(20))
    key = f"-----BEGIN RSA PRIVATE K\u200bEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"
    found = [f for f in standard().inspect(f"key:\n{key}\nthanks") if f.end - f.start > 1000]
    assert [(f.start, f.end) for f in found] == [(5, 5 + len(key))]


ODD = ("\u200b", "\u0301", "\U000e0061", "\ufe0f")
SPELLED = ("one ", "two ", "double ", "(at)", " dot ", "%C3", "%A9", "4 1 1 1 1 1 1 1 ")
strange = st.lists(st.sampled_from([*"ab1@. -%4/+=\n\t", *"аеé１ﬁ٣–", *ODD, *SPELLED]), max_size=60).map("".join)
wrapped = st.one_of(
    strange, st.text(max_size=60), strange.map(b64), strange.map(quote), strange.map(lambda t: t.encode().hex())
)
texts = st.lists(wrapped, max_size=4).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(texts, st.sampled_from([0, 3, 96]))
def test_every_character_of_a_view_leads_back(text, margin):
    for view in views_of(text, margin=margin):
        assert len(view.text) == len(view.starts) == len(view.ends) == len(view.changed)
        assert all(0 <= a <= b <= len(text) for a, b in zip(view.starts, view.ends, strict=True))
        assert list(view.starts) == sorted(view.starts)
        assert list(view.ends) == sorted(view.ends)
        if ">" not in view.name:
            for place, character in enumerate(view.text):
                start, end = view.span(place, place + 1)
                assert view.changed[place] or character in "\n\x1e" or text[start:end] == character


@settings(max_examples=200, deadline=None)
@given(texts)
def test_a_view_with_room_shows_the_whole_text_edited(text):
    for edits in (plain_characters(text), joined_spelling(text), *(edits for _, edits in decoded(text))):
        wanted = text
        for edit in reversed(edits):
            wanted = wanted[: edit.start] + edit.text + wanted[edit.end :]
        if edits:
            view = edited("v", text, edits, margin=10**6)
            assert view.text == wanted
            assert not view.cuts


@settings(max_examples=200, deadline=None)
@given(texts)
def test_edits_are_in_order_and_disjoint(text):
    for edits in (plain_characters(text), joined_spelling(text), *(edits for _, edits in decoded(text))):
        assert all(0 <= e.start < e.end <= len(text) for e in edits)
        assert all(a.end <= b.start for a, b in itertools.pairwise(edits))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_normalising_twice_is_normalising_once(text):
    once = "".join(normalised(text))
    assert plain_characters(once) == [] or normalised(normalised(once)) == normalised(once)


def test_neighbourhoods_are_told_apart():
    text = "x" * 300 + " A " + "y" * 300 + " B " + "z" * 300
    view = edited("v", text, [Edit(301, 302, "a"), Edit(604, 605, "b")], margin=5)
    assert "\x1e" in view.text
    a, b = view.text.index("a"), view.text.index("b")
    assert (view.span(a, a + 1), view.span(b, b + 1)) == ((301, 302), (604, 605))
    assert view.is_cut(0, 3)
    assert view.is_cut(a, b)
    assert not view.is_cut(a, a + 1)
    assert view.shows(a, a + 1)
