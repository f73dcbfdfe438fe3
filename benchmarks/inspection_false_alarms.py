"""Findings per 1,000 rows of clean text (gsm8k's questions, clinc150's requests), ours beside Presidio's.

    TUNEWARD_TEST_DATA=../shared/data python -m benchmarks.inspection_false_alarms [--rows 500] [--show 0]

School problems and requests to an assistant hold nobody's data, yet they hold invented first names, countries and
nationalities. So two figures are told: every finding; and alarms, which leave out names and places on both sides, since
most of them are what they are called (docs/inspection.md tells how many were read by hand and what was wrong). Dates
and ages count as alarms on both sides.
"""

import argparse
import random
from collections import Counter
from collections.abc import Sequence

from benchmarks.inspection_peers import Contender, Said, presidio, tuneward
from benchmarks.inspection_spans import Span, outermost
from benchmarks.inspection_texts import TEXTS

CLEAN = ("gsm8k", "clinc150")
#: Kinds of names and places, ours and Presidio's, which these texts truly hold.
THERE = frozenset(("person", "title", "place", "nationality", "organisation")) | frozenset(
    ("PERSON", "LOCATION", "NRP", "ORGANIZATION")
)


def findings(contender: Contender, texts: Sequence[str]) -> list[tuple[str, Said]]:
    """Every finding that lies in no other, with its text."""
    found = []
    for text in texts:
        said = list(contender(text))
        kept = {(s.start, s.end) for s in outermost(Span(s.start, s.end, (s.kind,), s.confidence) for s in said)}
        found += [(text, s) for s in said if (s.start, s.end) in kept]
    return found


def main() -> None:
    """Read the options, count, and say the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500, help="rows of each set, drawn with a fixed seed")
    parser.add_argument("--show", type=int, default=0, help="findings of each contender to print, for reading")
    options = parser.parse_args()
    contenders = {"tuneward": tuneward(ner=True), "without NER": tuneward(ner=False), "Presidio": presidio()}
    alarms: Counter[str] = Counter()
    rows = 0
    for name in CLEAN:
        texts = TEXTS[name]()
        texts = random.Random(0).sample(texts, min(options.rows, len(texts)))
        rows += len(texts)
        for who, contender in contenders.items():
            found = findings(contender, texts)
            alarm = [said for _, said in found if said.kind not in THERE]
            alarms[who] += len(alarm)
            kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(s.kind for _, s in found).most_common())
            each = 1000 / len(texts)
            told = f"{each * len(found):.0f} findings, {each * len(alarm):.1f} alarms per 1,000 rows"
            print(f"{name}, {len(texts)} rows, {who}: {told} ({kinds})")
            for text, said in random.Random(1).sample(found, min(options.show, len(found))):
                print(f"    {said.kind:16} {text[max(0, said.start - 30) : said.start]}[{text[said.start : said.end]}]")
    ours, theirs = (1000 * alarms[who] / rows for who in ("tuneward", "Presidio"))
    print(f"alarms per 1,000 rows, n = {rows}: tuneward {ours:.1f}, Presidio {theirs:.1f}, ratio: {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
