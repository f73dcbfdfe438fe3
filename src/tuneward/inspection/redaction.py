"""Redaction: findings become typed placeholders such as ``[EMAIL]``.

Place on the road: ``data`` redacts rows before they train. Law: no character of a redacted span appears in the result
at its place; where findings overlap, all that they cover together is replaced by one placeholder. Knows what to do with
a kind only from the actions that it is given.
"""

from collections.abc import Iterable, Mapping
from typing import Final, cast, get_args

from tuneward.domain.finding import Action, Finding
from tuneward.inspection.overlaps import clusters

_STRICTEST_LAST: Final = {action: rank for rank, action in enumerate(get_args(Action))}


def decide(kind: str, actions: Mapping[str, str]) -> Action:
    """Say what a policy wants done with a finding of ``kind``: its own entry, else ``*``, else ``block``."""
    action = actions.get(kind, actions.get("*", "block"))
    assert action in _STRICTEST_LAST, f"no such action: {action}"
    return cast(Action, action)


def strictest(actions: Iterable[Action]) -> Action:
    """The strictest of ``actions`` (allow, redact, drop, block in rising order); ``allow`` when there are none."""
    return max(actions, key=_STRICTEST_LAST.__getitem__, default="allow")


def placeholder(kind: str) -> str:
    """What stands in place of a finding: ``[EMAIL]``, ``[API_KEY]``."""
    return f"[{kind.upper()}]"


def redact(text: str, findings: Iterable[Finding], actions: Mapping[str, str] | None = None) -> str:
    """Replace findings by placeholders.

    Args:
        text: the text in which ``findings`` were found.
        findings: spans into ``text``; may overlap.
        actions: kind → action as a policy gives it; only kinds to ``redact`` are replaced. None replaces all.

    Returns:
        The text with one placeholder for each group of overlapping findings, named by the most confident of them.
    """
    chosen = [f for f in findings if actions is None or decide(f.kind, actions) == "redact"]
    if not chosen:
        return text
    parts: list[str] = []
    position = 0
    for group in clusters(chosen):
        name = max(group, key=lambda f: (f.confidence, f.end - f.start, f.kind)).kind
        parts += [text[position : group[0].start], placeholder(name)]
        position = max(f.end for f in group)
    parts.append(text[position:])
    return "".join(parts)
