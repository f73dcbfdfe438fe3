"""Precision, recall and F1 of inspection on presidio-research, beside Presidio with the same spaCy model.

    TUNEWARD_TEST_DATA=../shared/data python -m benchmarks.inspection_quality [--half test] [--without-peer]

Only the half that no rule was tuned on is reported, unless asked otherwise. Exact means the same characters (signs at
the ends aside), overlap at least one of them; the type must be right in both.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.inspection_peers import Contender, presidio, tuneward
from benchmarks.inspection_spans import (
    OURS,
    PRESIDIO,
    STRUCTURED,
    Count,
    Marked,
    Match,
    Score,
    Span,
    marked_texts,
    score,
)


@dataclass(frozen=True)
class Quality:
    """The figures that the bars are about: F1 of overlapping spans.

    Attributes:
        structured: ours without the recognizer, types with a form.
        everything: ours with it, all types.
        peer: Presidio's, all types.
        distance: low and high end of ours less Presidio's, 95%.
    """

    structured: float
    everything: float
    peer: float | None
    distance: tuple[float, float] | None


def said_of(contender: Contender, texts: Sequence[Marked], types: dict[str, tuple[str, ...]]) -> list[list[Span]]:
    """What a contender says about each text, of the types that are scored."""
    return [
        [Span(s.start, s.end, types[s.kind], s.confidence) for s in contender(text.text) if s.kind in types]
        for text in texts
    ]


def compare(half: str = "test", *, peer: bool = True) -> Quality:
    """Score every contender, print the tables, and return the figures."""
    texts = marked_texts("tune" if half == "tune" else "test")
    print(f"{len(texts)} texts of the {half} half, {sum(len(t.gold) for t in texts)} gold spans")
    said = {
        "tuneward, no recognizer": said_of(tuneward(ner=False), texts, dict(OURS)),
        "tuneward": said_of(tuneward(ner=True), texts, dict(OURS)),
    }
    if peer:
        said["Presidio"] = said_of(presidio(), texts, dict(PRESIDIO))
    scores: dict[tuple[str, Match], Score] = {}
    for name, spans in said.items():
        for match in ("overlap", "exact"):
            scores[name, match] = score(texts, spans, match)
    for name in said:
        _print(name, scores[name, "overlap"], scores[name, "exact"])
    plain, full = scores["tuneward, no recognizer", "overlap"], scores["tuneward", "overlap"]
    low, high = plain.interval(STRUCTURED)
    structured = plain.of(STRUCTURED)
    print(
        f"structured types without recognizer: F1 {structured.f1:.3f} ({low:.3f} to {high:.3f}), n = {structured.gold}"
    )
    if not peer:
        return Quality(structured.f1, full.of().f1, None, None)
    theirs = scores["Presidio", "overlap"]
    distance = full.interval(less=theirs)
    return Quality(structured.f1, full.of().f1, theirs.of().f1, distance)


def _print(name: str, overlap: Score, exact: Score) -> None:
    print(f"\n{name:24}      n   overlap P      R     F1    exact P      R     F1")
    for kind in overlap.types:
        _print_line(kind, overlap.of([kind]), exact.of([kind]))
    _print_line("structured types", overlap.of(STRUCTURED), exact.of(STRUCTURED))
    _print_line("all types", overlap.of(), exact.of())
    for match, one in (("overlap", overlap), ("exact", exact)):
        low, high = one.interval()
        print(
            f"F1 of all types, {match}: {one.of().f1:.3f} (95% interval {low:.3f} to {high:.3f}, bootstrap over texts)"
        )


def _print_line(kind: str, overlap: Count, exact: Count) -> None:
    figures = [overlap.precision, overlap.recall, overlap.f1, exact.precision, exact.recall, exact.f1]
    told = "  ".join(f"{figure:9.3f}" if place % 3 == 0 else f"{figure:5.3f}" for place, figure in enumerate(figures))
    print(f"  {kind:22} {overlap.gold:6}   {told}")


def main() -> None:
    """Read the options, compare, and say the figure last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("test", "tune"), default="test", help="which half is scored")
    parser.add_argument("--without-peer", action="store_true", help="leave Presidio out")
    options = parser.parse_args()
    quality = compare(options.half, peer=not options.without_peer)
    if quality.peer is None or quality.distance is None:
        print(f"F1 of all types with recognizer: {quality.everything:.3f}")
        return
    low, high = quality.distance
    print(
        f"F1 of all types, tuneward {quality.everything:.3f}, Presidio {quality.peer:.3f}, distance: "
        f"{quality.everything - quality.peer:+.3f} (95% interval {low:+.3f} to {high:+.3f})"
    )


if __name__ == "__main__":
    main()
