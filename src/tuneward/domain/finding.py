"""Finding: what an inspection saw in a text, never the text itself."""

from dataclasses import dataclass
from typing import Literal

Action = Literal["allow", "redact", "drop", "block"]


@dataclass(frozen=True)
class Finding:
    """A span of one field that a detector recognised.

    Attributes:
        kind: what it is: ``email``, ``phone``, ``iban``, ``card``, ``api_key``…
        start: first character of the span in the raw text.
        end: one past the last character.
        confidence: 0 to 1.
        rule: the detector's rule that matched.
    """

    kind: str
    start: int
    end: int
    confidence: float
    rule: str
