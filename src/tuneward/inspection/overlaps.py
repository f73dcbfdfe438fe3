"""Overlaps: what remains when several rules saw the same characters.

Place on the road: the last step of ``inspection.detectors.inspect`` and the first of ``inspection.redaction``. Sweeps
once from left to right; nothing is compared with everything.
"""

from collections.abc import Iterable, Iterator

from tuneward.domain.finding import Finding


def resolve(findings: Iterable[Finding]) -> list[Finding]:
    """Drop every finding that lies within another of at least its confidence, and sort the rest by position.

    Nothing found becomes uncovered: what is dropped lies inside what stays. The result does not depend on the order
    of ``findings``. After sorting, linear: one comparison per level of confidence, of which there are a handful.
    """
    ordered = sorted(findings, key=lambda f: (f.start, -f.end, -f.confidence, f.kind, f.rule))
    if len(ordered) < 2:
        return ordered
    furthest: dict[float, int] = {}  # confidence → end of the finding that reaches furthest so far
    kept = []
    for finding in ordered:
        if any(end >= finding.end for level, end in furthest.items() if level >= finding.confidence):
            continue
        kept.append(finding)
        furthest[finding.confidence] = max(finding.end, furthest.get(finding.confidence, 0))
    return kept


def clusters(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Group findings that overlap, directly or through others; groups come by position and are disjoint."""
    group: list[Finding] = []
    end = 0
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, f.kind, f.rule)):
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
