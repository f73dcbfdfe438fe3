"""Redaction: findings become typed placeholders such as ``[EMAIL]``, or fakes that stay the same for the same value.

Place on the road: ``data`` rewrites rows before they train. Law: no character of a rewritten span appears in the result
at its place; where findings overlap, all that they cover together is replaced by one placeholder. Knows what to do with
a kind only from the actions that it is given.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast, get_args

from tuneward.domain.finding import Action, Finding
from tuneward.inspection.disguises import NORMALISED, normalised
from tuneward.inspection.overlaps import clusters
from tuneward.inspection.pseudonyms import Pseudonyms

_STRICTEST_LAST: Final = {action: rank for rank, action in enumerate(get_args(Action))}
_REWRITTEN: Final = ("pseudonymise", "redact")


def decide(kind: str, actions: Mapping[str, str]) -> Action:
    """Say what a policy wants done with a finding of ``kind``.

    Its own entry (``term:customers``), else that of its family (``term``), else ``*``, else ``block``.
    """
    family = kind.partition(":")[0]
    action = next((actions[name] for name in (kind, family, "*") if name in actions), "block")
    assert action in _STRICTEST_LAST, f"no such action: {action}"
    return cast(Action, action)


def strictest(actions: Iterable[Action]) -> Action:
    """The strictest of ``actions``, which rise in the order of :data:`Action`; ``allow`` when there are none."""
    return max(actions, key=_STRICTEST_LAST.__getitem__, default="allow")


def placeholder(kind: str) -> str:
    """What stands in place of a finding: ``[EMAIL]``, ``[API_KEY]``."""
    return f"[{kind.upper()}]"


@dataclass(frozen=True)
class Rewriter:
    """Puts something else in the place of findings.

    Attributes:
        actions: kind → action as a policy gives it; None redacts all.
        pseudonyms: makes fakes; without it there are placeholders instead.
    """

    actions: Mapping[str, str] | None = None
    pseudonyms: Pseudonyms | None = None

    def chosen(self, findings: Iterable[Finding]) -> list[Finding]:
        """Those that are rewritten."""
        return [f for f in findings if self._action(f) in _REWRITTEN]

    def stand_in(self, text: str, group: list[Finding]) -> str:
        """What stands in the place of findings that overlap: a fake only where one of them covers all others.

        An address is an address, though the postcode in it is surer.
        """
        start, end = group[0].start, max(f.end for f in group)
        whole = [f for f in group if f.kind == "address" and (f.start, f.end) == (start, end)]
        surest = max(whole or group, key=lambda f: (f.confidence, f.end - f.start, f.kind))
        faked = self.pseudonyms is not None and all(self._action(f) == "pseudonymise" for f in group)
        if not faked or (surest.start, surest.end) != (start, end) or surest.view not in ("raw", NORMALISED):
            return placeholder(surest.kind)
        assert self.pseudonyms is not None
        return self.pseudonyms.fake(surest.kind, normalised(text[start:end]))

    def rewrite(self, text: str, findings: Iterable[Finding]) -> str:
        """The text with one stand-in for each group of overlapping findings."""
        parts: list[str] = []
        position = 0
        for group in clusters(self.chosen(findings)):
            parts += [text[position : group[0].start], self.stand_in(text, group)]
            position = max(f.end for f in group)
        parts.append(text[position:])
        return "".join(parts)

    def _action(self, finding: Finding) -> Action:
        return "redact" if self.actions is None else decide(finding.kind, self.actions)


def redact(text: str, findings: Iterable[Finding], actions: Mapping[str, str] | None = None) -> str:
    """Replace findings by placeholders.

    Args:
        text: the text in which ``findings`` were found.
        findings: spans into ``text``; may overlap.
        actions: kind → action as a policy gives it; only what it rewrites is replaced. None replaces all.

    Returns:
        The text with one placeholder for each group of overlapping findings, named by the most confident of them.
    """
    return Rewriter(actions).rewrite(text, findings)
