r"""Linear patterns: regular expressions that read every character a bounded number of times, whatever the text.

Place on the road: beneath the views, the marks and a site's own patterns. RE2 builds an automaton and never backtracks
(Cox 2010, "Regular Expression Matching in the Wild"), so that neither an expression of the site's nor a text of an
attacker's can hold the inspection up. What needs backtracking (references back, looking around) is not in its language.
Knows nothing of findings.
"""

import re
from collections.abc import Iterator

import re2

_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")
_MEMORY_BYTES = 64 * 2**20  # of one compiled expression and its automaton


class PatternError(ValueError):
    """An expression that RE2 does not take; the message says why, in RE2's words."""


class LinearPattern:
    r"""A compiled expression.

    ``\w``, ``\d``, ``\s`` and ``\b`` know ASCII only; ``\p{L}`` and the like know all of Unicode.

    Args:
        expression: in RE2's language.

    Raises:
        PatternError: where RE2 refuses it, or it would need more than 64 MiB.
    """

    def __init__(self, expression: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY_BYTES
        options.never_capture = True
        try:
            self._compiled = re2.compile(expression, options)
        except (re2.error, UnicodeEncodeError) as error:
            raise PatternError(_said(error)) from None

    def found_in(self, text: str) -> bool:
        """Whether it matches anywhere."""
        return self._compiled.search(_encodable(text)) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of every match from left to right, none within another; empty ones are left out."""
        for found in self._compiled.finditer(_encodable(text)):
            start, end = found.span()
            if start < end:
                yield start, end

    @property
    def matches_nothing(self) -> bool:
        """Whether it matches the empty text, and so would match everywhere."""
        return self._compiled.search("") is not None


def _encodable(text: str) -> str:
    """The text, with U+FFFD for half characters, which have no form in UTF-8; no character moves."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _HALF_CHARACTERS.sub("\ufffd", text)
    return text


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else "not understood"
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
