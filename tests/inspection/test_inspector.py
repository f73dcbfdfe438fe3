"""One engine: chunks give what the whole gives, order does not matter, and no text holds it up."""

import base64
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.growth import LINEAR, slowdown_of_text
from tuneward.domain.finding import Finding
from tuneward.errors import ConfigError
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import Inspector, inspection_inputs, make_inspector, standard
from tuneward.inspection.redaction import redact
from tuneward.inspection.segments import LONGEST_SPAN, windows

PIECES = st.sampled_from(
    [
        "jane.roe@example.org",
        "call +49 170 1234567",
        "DE89 3704 0044 0532 0130 00",
        "4111 1111 1111 1111",
        "AKIAIOSFODNN7EXAMPLE",
        "аnna@firma.de",
        "j a n e @ e x a m p l e . o r g",
        base64.b64encode(b"mail jane.roe@example.org").decode(),
        "jane%2Eroe%40example%2Eorg",
        "four one five, five five five, one two three four",
        "STRENG VERTRAULICH",
        "Acme Holding",
        "TCK-1234",
        "words and words",
        "\u200b",
        "\ud800",
        " ",
        "\n",
        "é",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Inspector:
    folder = tmp_path_factory.mktemp("terms")
    (folder / "customers.txt").write_text("Acme Holding\n")
    config = InspectionConfig(terms={"customers": "customers.txt"}, patterns={"ticket": r"TCK-[0-9]+"})
    return make_inspector(config, folder=folder)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 400), max_size=8), st.sampled_from([16, 64, 300, 10**6]))
def test_chunks_give_what_the_whole_gives(text, places, segment):
    inspector = Inspector(segment=segment)
    cuts = [0, *sorted(place for place in places if place < len(text)), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(cuts)]
    assert inspector.inspect_chunks(chunks) == inspector.inspect(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES.filter(lambda piece: piece != "\ud800"), min_size=1, max_size=8), st.integers(500, 3000))
def test_what_one_stretch_shows_several_show_too(pieces, segment):
    text = ("\nplain words all along, " * 20).join(pieces)
    whole, parts = standard().inspect(text), Inspector(segment=segment).inspect(text)
    assert [(f.kind, f.start, f.end) for f in parts] == [(f.kind, f.start, f.end) for f in whole]


@given(st.text(max_size=300), st.lists(st.integers(0, 300), max_size=6), st.integers(1, 40), st.integers(0, 40))
def test_windows_do_not_depend_on_chunks_and_miss_nothing(text, places, segment, longest):
    cuts = [0, *sorted(place for place in places if place < len(text)), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(cuts)]
    made = list(windows(chunks, segment=segment, longest=longest))
    assert made == list(windows([text], segment=segment, longest=longest))
    for window in made:
        assert text[window.offset : window.offset + len(window.text)] == window.text
        assert window.offset + len(window.text) == (len(text) if window.end is None else window.end + longest)
    assert [w.start for w in made[1:]] == [w.end for w in made[:-1]]


def test_a_private_key_over_a_cut_is_told_whole():
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n" * 400 + "-----END PRIVATE KEY-----"
    assert len(key) < LONGEST_SPAN
    text = "x " * 500 + key + " y" * 3000
    found = [f for f in Inspector(segment=2_000).inspect(text) if f.end - f.start > 1000]
    assert [(f.start, f.end) for f in found] == [(1000, 1000 + len(key))]


def test_own_terms_and_patterns_are_found_in_views_too(own):
    text = "We met ACME HOLDING (TCK-77), A\u200bcme Holding and " + base64.b64encode(b"about TCK-78 then").decode()
    assert [(f.kind, f.view) for f in own.inspect(text)] == [
        ("term:customers", "raw"),
        ("pattern:ticket", "raw"),
        ("term:customers", "normalised"),
        ("pattern:ticket", "base64"),
    ]


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_redaction_leaks_no_found_span_and_what_is_left_holds_no_more_of_it(own, text):
    found = own.inspect(text)
    clean = redact(text, found)
    covered = {place for f in found for place in range(f.start, f.end)}
    left = "".join(c for place, c in enumerate(text) if place not in covered)
    for finding in found:
        assert 0 <= finding.start < finding.end <= len(text)
        span = text[finding.start : finding.end]
        assert span not in clean or span in left
    if not found:
        assert clean == text


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.permutations(range(3)))
def test_the_order_of_detectors_does_not_matter(text, order):
    def vowels(text: str):
        yield from (Finding("v", i, i + 1, 0.5, "v") for i, c in enumerate(text) if c in "aeiou")

    def words(text: str):
        yield from (Finding("w", i, i + 5, 0.5, "w") for i in range(len(text) - 5) if text[i : i + 5] == "words")

    def wide(text: str):
        if len(text) > 3:
            yield Finding("x", 1, len(text) - 1, 0.4, "x")

    detectors = (vowels, words, wide)
    one = Inspector(own=detectors).inspect(text)
    assert Inspector(own=tuple(detectors[place] for place in order)).inspect(text) == one


def test_settings_switch_views_off_and_pass_over_what_is_unsure():
    text = "jane@example.org and a n n a @ f i r m a . d e and password: hunter2-xyz"
    assert {f.view for f in standard().inspect(text)} == {"raw", "normalised"}
    assert {f.view for f in Inspector(views=False).inspect(text)} == {"raw"}
    assert {f.kind for f in Inspector(minimum_confidence=0.9).inspect(text)} == {"email"}
    assert standard().inspect("") == []


def test_every_list_and_pattern_that_cannot_be_used_is_told_at_once(tmp_path):
    (tmp_path / "short.txt").write_text("Acme\nx\n")
    config = InspectionConfig(terms={"a": "none.txt", "b": "short.txt"}, patterns={"c": "(", "d": "x*"})
    with pytest.raises(ConfigError) as caught:
        make_inspector(config, folder=tmp_path)
    assert [(f.code, f.place) for f in caught.value.faults] == [
        ("TW-INSP-001", "inspection.terms.a"),
        ("TW-INSP-002", "short.txt:2"),
        ("TW-INSP-003", "inspection.patterns.c"),
        ("TW-INSP-003", "inspection.patterns.d"),
    ]


def test_inputs_change_with_a_list_s_content(tmp_path):
    config = InspectionConfig(terms={"a": "a.txt"})
    (tmp_path / "a.txt").write_text("Acme\n")
    before = inspection_inputs(config, folder=tmp_path)
    assert inspection_inputs(config, folder=tmp_path) == before
    (tmp_path / "a.txt").write_text("Acme\nBeta\n")
    assert inspection_inputs(config, folder=tmp_path) != before
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ConfigError, match=r"TW-INSP-001"):
        inspection_inputs(config, folder=tmp_path)


@pytest.mark.parametrize(
    "unit",
    [
        *("a", "@", "a@", "4 ", "4-", "one ", "one two three four ", "%41", "%C3%A9", "QUJD", "QUJDREVGR0hJSktMTU5P\n"),
        *("\u200b", "a\u200b", "а", "аa", "аa ", "e\u0301", "\u0301", "１", "\U000e0061", "\ufe01", "4142", "41 42 "),
        *(r"\x41", "a . ", "(at)", " dot ", "a at b dot ", "double ", "TLP:", "CONFIDENTIAL ", "Classification: "),
        *("\x1e\n", "\ud800", "0-0_0.", "a b@c.d "),
    ],
)
def test_no_text_makes_the_inspection_slower_than_its_length(unit):
    def inspected(text):
        assert all(0 <= f.start < f.end <= len(text) for f in standard().inspect(text))

    assert slowdown_of_text(inspected, unit, characters=32_000) < LINEAR
