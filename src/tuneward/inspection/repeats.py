"""Repeats: every other place where a found value stands again, in the same text or in one beside it.

Place on the road: between finding and redaction, for rows in ``data.screening`` and for messages in ``serving.guard``.
A password may be known by the word before it in the question, and stand alone in the answer. Knows no policy.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.inspection.overlaps import resolve

_MAX_REPEATED_VALUES: Final = 100


def with_repeats(texts: Sequence[str], found: Sequence[list[Finding]]) -> list[list[Finding]]:
    """What was found in texts that belong together, and every other place where the same value stands.

    Args:
        texts: the texts.
        found: what was found in each of them; the first hundred values are looked for.
    """
    values: dict[str, Finding] = {}
    for text, in_text in zip(texts, found, strict=True):
        for finding in in_text:
            if len(values) < _MAX_REPEATED_VALUES:
                values.setdefault(text[finding.start : finding.end], finding)
    extended = []
    for text, in_text in zip(texts, found, strict=True):
        more = [
            dataclasses.replace(model, start=start, end=start + len(value), rule=f"{model.rule}.repeated")
            for value, model in values.items()
            for start in _occurrences(text, value)
        ]
        known = {(f.kind, f.start, f.end) for f in in_text}
        new = [f for f in more if (f.kind, f.start, f.end) not in known]
        extended.append(resolve([*in_text, *new]) if new else in_text)
    return extended


def _occurrences(text: str, value: str) -> Iterator[int]:
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        joined_before = start > 0 and text[start - 1].isalnum() and value[0].isalnum()
        joined_after = end < len(text) and text[end].isalnum() and value[-1].isalnum()
        escaped = start > 1 and text[start - 2] == "\\"
        if not joined_after and (escaped or not joined_before):
            yield start
        start = text.find(value, end)
