"""Kinds that are known by their words: special categories in five languages, nationalities, places."""

import pytest

from tuneward.inspection.lexicon import SPECIAL_KINDS, find_nationalities, find_places, find_special_categories


def test_the_categories_are_those_of_article_9():
    wanted = {"health", "religion", "ethnicity", "politics", "union", "sexuality", "biometric", "genetic"}
    assert {kind.removeprefix("special_") for kind in SPECIAL_KINDS} == wanted


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("she has diabetes", "special_health.en"),
        ("er ist Diabetiker", "special_health.de"),
        ("è incinta", "special_health.it"),
        ("syndiqué depuis", "special_union.fr"),
        ("es musulmán", "special_religion.es"),
        ("a DNA test", "special_genetic.en"),
        ("their fingerprints", "special_biometric.en"),
    ],
)
def test_a_word_of_a_special_category_is_found(text, rule):
    assert [f.rule for f in find_special_categories(text)] == [rule]


@pytest.mark.parametrize("text", ["diabetesx", "the union of two sets", "a strong party", "under stress"])
def test_parts_of_words_and_everyday_senses_are_not(text):
    assert list(find_special_categories(text)) == []


def test_a_nationality_needs_its_capital_or_a_self():
    assert [f.start for f in find_nationalities("polish the car; I am polish; Polish food")] == [21, 29]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("from Côte d'Ivoire to Neuseeland", ["Côte d'Ivoire", "Neuseeland"]),
        ("Jordan ate; he went to Jordan", ["Jordan"]),
        ("a bowl of chili and a turkey", []),
        ("moved here from Tjæreborg", ["Tjæreborg"]),
    ],
)
def test_places_are_told_from_persons_and_dishes(text, values):
    assert [text[f.start : f.end] for f in find_places(text) if f.kind == "place"] == values
