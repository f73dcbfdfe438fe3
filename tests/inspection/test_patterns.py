"""A site's own expressions: what they find, and what is refused by name before it can do harm."""

import pytest

from tests.growth import LINEAR, slowdown
from tuneward.errors import DataError, Fault
from tuneward.inspection import patterns
from tuneward.inspection.patterns import OwnPattern, make_pattern


def test_matches_are_findings_of_the_pattern():
    made = make_pattern("ticket", r"\bTCK-[0-9]{4}\b")
    assert isinstance(made, OwnPattern)
    text = "ä TCK-1234, \ud800 TCK-12345, TCK-9999"
    assert [text[f.start : f.end] for f in made(text)] == ["TCK-1234", "TCK-9999"]
    assert {(f.kind, f.rule) for f in made(text)} == {("pattern:ticket", "pattern.ticket")}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(a", "missing )"),
        ("a*", "matches the empty text"),
        ("^|x", "matches the empty text"),
        (r"(a)\1", "escape"),
        ("(?<=x)y", "invalid"),
        ("(a{1000}){1000}", "repetition"),
        ("\ud800", ""),
    ],
)
def test_what_cannot_be_used_is_a_fault_with_its_place(expression, said):
    fault = make_pattern("ticket", expression)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.place) == ("TW-INSP-003", "inspection.patterns.ticket")
    assert said in fault.message
    assert fault.cure


@pytest.mark.parametrize("expression", [r"(a+)+$b", r"(a|aa)+c", r"(x+x+)+y", r"([a-z]+)*[0-9]", "(.*)*=(.*)*;"])
def test_what_explodes_elsewhere_takes_linear_time(expression):
    made = make_pattern("evil", f"z{expression}")
    assert isinstance(made, OwnPattern)
    assert list(made("z" + "a" * 100_000)) == []
    assert slowdown(made, "z" + "a" * 100_000, "z" + "a" * 400_000) < LINEAR


def test_what_would_look_to_the_end_from_every_place_is_stopped_and_named(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    made = make_pattern("greedy", "a(?:[^b]*b)?")
    assert isinstance(made, OwnPattern)
    with pytest.raises(DataError, match=r"TW-INSP-004.*inspection\.patterns\.greedy"):
        list(made("a" * 200_000))
