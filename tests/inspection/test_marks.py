"""Stamps are found as stamps, and words in a sentence are left alone."""

import pytest

from tuneward.inspection.inspector import standard
from tuneward.inspection.marks import find_marks


def found(text: str) -> set[tuple[str, str]]:
    return {(text[f.start : f.end], f.rule.partition(".")[2]) for f in find_marks(text)}


@pytest.mark.parametrize(
    ("text", "stamp", "level"),
    [
        ("This page is CONFIDENTIAL.", "CONFIDENTIAL", "confidential"),
        ("*** Streng vertraulich ***\nText", "Streng vertraulich", "confidential"),
        ("Classification: secret", "secret", "secret"),
        ("Klassifizierung: **intern**\n", "intern", "internal"),
        ("sent under TLP:RED, do not pass on", "TLP:RED", "tlp_red"),
        ("TLP:AMBER+STRICT", "TLP:AMBER+STRICT", "tlp_amber"),
        ("à lire. RÉSERVÉ À UN USAGE INTERNE. Merci", "RÉSERVÉ À UN USAGE INTERNE", "internal"),
        ("STRETTAMENTE  RISERVATO", "STRETTAMENTE  RISERVATO", "confidential"),
        ("USO INTERNO - no copiar", "USO INTERNO", "internal"),
        ("VS-NfD", "VS-NfD", "internal"),
        ("| Vertraulich |", "Vertraulich", "confidential"),
        ("Livello di riservatezza: Riservato; pagina 1", "Riservato", "internal"),
    ],
)
def test_a_stamp_is_found_with_its_level(text, stamp, level):
    assert found(text) == {(stamp, level)}


@pytest.mark.parametrize(
    "text",
    [
        "please keep this confidential",
        "Confidentiality matters; a CONFIDENTIALITY agreement",
        "INTERNAL SERVER ERROR",
        "SECRET=abc",
        "the classification: internal medicine",
        "Das ist geheim, und vertraulich ist es auch.",
        "an interno of the house, a secreto",
    ],
)
def test_a_word_in_a_sentence_is_no_stamp(text):
    assert found(text) == set()


def test_the_inspector_tells_a_stamp_once():
    assert [(f.kind, f.rule, f.view) for f in standard().inspect("TLP:RED")] == [
        ("confidential", "confidential.tlp_red", "raw")
    ]
    assert [f.view for f in standard().inspect("x T\u200bLP:R\u200bED y")] == ["normalised"]
