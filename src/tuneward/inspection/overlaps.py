"""Overlaps: what remains when several rules saw the same characters.

Place on the road: the last step of ``inspection.detectors.inspect`` and the first of ``inspection.redaction``. Sweeps
once from left to right; nothing is compared with everything.
"""

from collections.abc import Iterable, Iterator

from tuneward.domain.finding import Finding


def resolve(findings: Iterable[Finding]) -> list[Finding]:
    """Drop every finding that lies within another of at least its confidence, and sort the rest by position.

    Nothing found becomes uncovered: what is dropped lies inside what stays. The result does not depend on the order
    of ``findings``. Of the same span and confidence the one stays that was seen in the raw text, or after fewer steps,
    then the kind and rule that come first in the alphabet. Time n log n, however many levels of confidence there are.
    """
    ordered = sorted(findings, key=_order)
    if len(ordered) < 2:
        return ordered
    surest_first = sorted({finding.confidence for finding in ordered}, reverse=True)
    ranks = {confidence: rank for rank, confidence in enumerate(surest_first, start=1)}
    reach = _Reach(len(ranks))
    kept = []
    for finding in ordered:
        rank = ranks[finding.confidence]
        if reach.furthest(rank) < finding.end:
            kept.append(finding)
            reach.extend(rank, finding.end)
    return kept


def _order(finding: Finding) -> tuple[int, int, float, int, str, str, str]:
    view = finding.view
    steps = 0 if view == "raw" else 1 + view.count(">")
    return finding.start, -finding.end, -finding.confidence, steps, finding.kind, finding.rule, view


class _Reach:
    """How far anything of a rank or better reaches: prefix maxima in a binary indexed tree (Fenwick 1994)."""

    def __init__(self, ranks: int) -> None:
        self._tree = [0] * (ranks + 1)

    def furthest(self, rank: int) -> int:
        """The greatest end given for ranks 1 to ``rank``; 0 where there is none."""
        end = 0
        while rank:
            end = max(end, self._tree[rank])
            rank &= rank - 1
        return end

    def extend(self, rank: int, end: int) -> None:
        """Take in an end of ``rank``."""
        while rank < len(self._tree):
            self._tree[rank] = max(end, self._tree[rank])
            rank += rank & -rank


def clusters(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Group findings that overlap, directly or through others; groups come by position and are disjoint."""
    group: list[Finding] = []
    end = 0
    for finding in sorted(findings, key=_order):
        if group and finding.start >= end:
            yield group
            group = []
        end = max(end, finding.end) if group else finding.end
        group.append(finding)
    if group:
        yield group


def beside(said: Iterable[Finding], known: Iterable[Finding]) -> list[Finding]:
    """What of ``said`` overlaps nothing ``known`` of another kind, for a source that is less sure than the other."""
    edges = sorted(known, key=lambda f: (f.start, f.end))
    kept, position, open_ones = [], 0, []  # type: list[Finding], int, list[Finding]
    for finding in sorted(said, key=lambda f: (f.start, f.end, f.kind)):
        while position < len(edges) and edges[position].start < finding.end:
            open_ones.append(edges[position])
            position += 1
        open_ones = [other for other in open_ones if other.end > finding.start]
        if all(other.kind == finding.kind for other in open_ones):
            kept.append(finding)
    return kept
