"""What the words around a name say of its kind, whatever a model guessed."""

import pytest

from tuneward.inspection.evidence import kind_of


def decide(text: str, name: str, guess: str | None) -> str | None:
    start = text.index(name)
    known = {"the", "wisdom", "green", "hill"}.__contains__
    return kind_of(text, start, start + len(name), guess=guess, known=known)


@pytest.mark.parametrize(
    ("text", "name", "guess", "kind"),
    [
        ("Follow up with Sigrid Nyström soon", "Sigrid Nyström", "organisation", "person"),
        ("the account of Shane M Culp", "Shane M Culp", "organisation", "person"),
        ("She moved to Feliciano", "Feliciano", "organisation", "place"),
        ("He works at Datamarket", "Datamarket", "place", "organisation"),
        ("the Globex Corporation", "Globex Corporation", "person", "organisation"),
        ("the Polish team", "Polish", "nationality", "nationality"),
        ("twice as many as Sean Tully has", "Sean Tully", "nationality", "person"),
        ("She arrived at Hasle today", "Hasle", "organisation", "place"),
        ("They met on Lodge Street", "Lodge Street", "person", "place"),
        ("shares of Globex fell", "Globex", "place", "organisation"),
        ("Timotea lives on a hill", "Timotea", None, "person"),
    ],
)
def test_evidence_outweighs_a_guess(text, name, guess, kind):
    assert decide(text, name, guess) == kind


@pytest.mark.parametrize(
    ("text", "name", "guess"),
    [
        ("send it ASAP please", "ASAP", "organisation"),
        ("words like Wisdom count", "Wisdom", "organisation"),
        ("The end", "The", "person"),
        ("a word of small letters", "small", "person"),
        ("on Green Hill", "Green", None),
        ("see Wisdom there", "Wisdom", "person"),
        ("a Reddit group", "Reddit", "nationality"),
    ],
)
def test_without_evidence_there_is_no_name(text, name, guess):
    assert decide(text, name, guess) is None
