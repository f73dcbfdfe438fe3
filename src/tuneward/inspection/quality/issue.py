"""Issue: one reason to doubt a row, and what to do about it.

Place on the road: what every file of this room gives, and what ``data.quality`` adds up to a score. Holds numbers and
names of rules, never the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Suggestion = Literal["repair", "drop", "look"]
_STRENGTH: Final[dict[Suggestion, int]] = {"look": 0, "repair": 1, "drop": 2}


@dataclass(frozen=True)
class Issue:
    """A reason to doubt a row.

    Attributes:
        kind: the detector's name, such as ``truncated``.
        rule: which of its rules spoke.
        weight: how much it takes from the row's quality, 0 to 1.
        suggestion: ``repair`` what can be mended, ``drop`` what cannot, ``look`` where only a person can tell.
    """

    kind: str
    rule: str
    weight: float
    suggestion: Suggestion


def quality(issues: Iterable[Issue]) -> float:
    """A row's score from 1 (nothing found) down to 0: the product of ``1 - weight`` of its worst issue of each kind."""
    worst: dict[str, float] = {}
    for issue in issues:
        worst[issue.kind] = max(worst.get(issue.kind, 0.0), issue.weight)
    score = 1.0
    for kind in sorted(worst):
        score *= 1.0 - worst[kind]
    return score


def suggestion(issues: Iterable[Issue]) -> Suggestion | None:
    """The strongest suggestion of a row's issues; None without any."""
    return max((issue.suggestion for issue in issues), key=_STRENGTH.__getitem__, default=None)
