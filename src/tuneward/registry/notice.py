"""NOTICE: what receivers of a model must be told: on what it rests, under which licences, and what those ask.

Place on the road: one of the papers that ``register`` makes, and a file of every exported copy. Plain text; the same
facts give the same bytes. Holds no name of a person, no row and no path. No legal advice: the table of licences says
how well each row of it is founded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneward.amounts import counted

_WIDTH = 78


@dataclass(frozen=True)
class NoticeFacts:
    """What the notice tells.

    Attributes:
        project: the project's name.
        number: the version's number; None for a run that is not registered.
        base: the base's name for outsiders.
        base_digest: its digest.
        licence: the licence under which the base is used.
        stated: the licence that its files state.
        decision: id of the decision on it, or None.
        reason: why it was decided so.
        duties: what the base's licence asks under the declared use.
        law: ``counts["law"]`` of the dataset: licences of the data and what they ask.
        merged: whether the base's own weights were changed; an adapter leaves them as they are.
    """

    project: str
    number: int | None
    base: str
    base_digest: str
    licence: str
    stated: str
    decision: str | None = None
    reason: str = ""
    duties: Sequence[str] = ()
    law: Mapping[str, Any] = field(default_factory=dict)
    merged: bool = True


def make_notice(facts: NoticeFacts) -> bytes:
    """The notice as UTF-8 text."""
    return ("\n".join(_lines(facts)) + "\n").encode()


def _lines(facts: NoticeFacts) -> Iterator[str]:
    title = f"{facts.project}, version {facts.number}" if facts.number else f"{facts.project}, not registered"
    yield from (title, "=" * min(len(title), _WIDTH), "")
    yield from ("Base model", f"  {_one(facts.base)}", f"  SHA-256 of its files: {facts.base_digest}")
    yield f"  licence: {_one(facts.licence)}"
    if facts.decision:
        yield f"  stated in its files: {_one(facts.stated)}; decided as above ({facts.decision}): {_one(facts.reason)}"
    unchanged = "Its weights are unchanged; what was trained is an adapter beside them."
    yield f"  {'Its weights were changed by training.' if facts.merged else unchanged}"
    yield from _list("  It asks:", facts.duties)
    yield ""
    licences = facts.law.get("licences") or {}
    yield "Training data"
    if licences:
        for name, rows in licences.items():
            yield f"  {counted(rows, 'row')} under {_one(name)}"
    else:
        yield "  no licence is stated"
    asked = [f"{duty['text']} ({', '.join(duty['licences'])})" for duty in facts.law.get("duties") or ()]
    yield from _list("  Asked:", asked)


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  - {_one(line)}" for line in lines)


def _one(text: str) -> str:
    """Text on one line, without what steers a terminal."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
