"""Reading JSON out of an answer, and when two JSON values are the same.

Place on the road: the first thing that happens to an answer of a ``json`` task. Knows nothing of schemas or figures.

Strict on purpose: what a program downstream would have to repair counts as wrong. An answer is valid JSON when, white
space around it aside, it is exactly one JSON object by RFC 8259: no code fence, no sentence before or after, no NaN, no
infinity, and no key twice (RFC 8259 section 4 leaves such an object's meaning open). The lenient :func:`find_object`
only feeds a diagnostic figure, so that a reader sees whether a base model failed at JSON or at silence around it.
"""

import json
import math
from typing import Any

#: Opening braces tried by :func:`find_object`; more would make a long answer of braces quadratic.
MAX_STARTS = 32


class NotJsonError(ValueError):
    """The text is not exactly one JSON object; ``reason`` is one of ``REASONS``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


#: What whoever asked knows and the text does not tell: the model had not ended when the longest answer had.
CUT = "cut at max_tokens"
#: Why an answer is not valid, in the order in which they are looked for.
REASONS = (
    CUT,
    "empty",
    "code fence",
    "text around the object",
    "cut off or broken JSON",
    "not an object",
    "not by schema",
)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number has no finite value")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite, parse_constant=_no_constant)


def read_object(text: str) -> dict[str, Any]:
    """Read an answer that must be exactly one JSON object, white space around it allowed.

    Raises:
        NotJsonError: with the reason.
    """
    body = text.strip(" \t\r\n")
    if not body:
        raise NotJsonError("empty")
    try:
        value, end = _decoder.raw_decode(body)
    except (ValueError, RecursionError):
        if body.startswith("```"):
            raise NotJsonError("code fence") from None
        broken = body.startswith(("{", "["))
        raise NotJsonError("cut off or broken JSON" if broken else "text around the object") from None
    if end < len(body):
        raise NotJsonError("text around the object")
    if not isinstance(value, dict):
        raise NotJsonError("not an object")
    return value


def find_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object anywhere in an answer, or None; lenient, for diagnosis only."""
    start = text.find("{")
    for _ in range(MAX_STARTS):
        if start < 0:
            return None
        try:
            value, _end = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return value if isinstance(value, dict) else None
    return None


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are canonically equal.

    Numbers compare by value (``12 == 12.0``), but never with booleans; strings by their characters; lists in order;
    objects without regard to the order of keys.
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
