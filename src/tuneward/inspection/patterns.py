"""Patterns: regular expressions of a site's own, bounded in time.

Place on the road: made from settings by ``inspection.inspector``, then detectors like any other. An expression is RE2's
(see ``inspection.linear``): it cannot explode by backtracking. What can still take long is to look for the next match
from every one before, each time to the end of the text; that is stopped by the clock and told as a fault.
"""

import re
import time
from collections.abc import Iterator
from typing import Final

from tuneward.domain.finding import Finding
from tuneward.errors import DataError, Fault
from tuneward.inspection.linear import LinearPattern, PatternError

#: Seconds of one thread that a pattern may take for one text, and for each million characters of it.
SECONDS: Final = 5.0
_CONFIDENCE: Final = 0.9
_BACKTRACKING = re.compile(r"\(\?(?:[=!>]|<[=!])|\\[1-9]|\(\?P=")


class OwnPattern:
    """A pattern of the site's.

    Args:
        name: its name.
        expression: in RE2's language.

    Raises:
        PatternError: RE2 does not take it, or it matches the empty text and so would match everywhere.
    """

    def __init__(self, name: str, expression: str) -> None:
        self.name = name
        self._pattern = LinearPattern(expression)
        if self._pattern.matches_nothing:
            raise PatternError("it matches the empty text, and so everywhere")

    @property
    def kind(self) -> str:
        """The kind of its findings."""
        return f"pattern:{self.name}"

    def __call__(self, text: str, /) -> Iterator[Finding]:
        """Find matches from left to right.

        Raises:
            DataError: it takes longer than :data:`SECONDS`.
        """
        until = time.thread_time() + SECONDS * max(1.0, len(text) / 1_000_000)
        for start, end in self._pattern.spans(text):
            if time.thread_time() > until:
                message = f"took more than {SECONDS:g} seconds for each million characters"
                cure = "let it begin with something rarer, and bound its repetitions"
                raise DataError(Fault("TW-INSP-004", message, f"inspection.patterns.{self.name}", cure))
            yield Finding(self.kind, start, end, _CONFIDENCE, f"pattern.{self.name}")


def make_pattern(name: str, expression: str) -> OwnPattern | Fault:
    """The pattern, or what is wrong with its expression."""
    try:
        return OwnPattern(name, expression)
    except PatternError as error:
        cure = "see docs/views-and-terms.md for what an expression may hold"
        if _BACKTRACKING.search(expression):
            cure = "write it without looking around and without references back: RE2 has neither"
        return Fault("TW-INSP-003", str(error), f"inspection.patterns.{name}", cure)
