"""Finding: what an inspection saw in a text, never the text itself; FindingEntry: what the register keeps of it."""

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


@dataclass(frozen=True)
class FindingEntry:
    """A finding's place in the register: where it was, and what was done about it. No content.

    Attributes:
        dataset: the dataset's id.
        record: the record's id (the row itself may have been dropped).
        field: which text of the record, such as ``messages[0]``.
        kind: see :class:`Finding`.
        start: see :class:`Finding`.
        end: see :class:`Finding`.
        confidence: see :class:`Finding`.
        rule: see :class:`Finding`.
        action: what the policy did: ``allow | redact | drop | block``.
    """

    dataset: str
    record: str
    field: str
    kind: str
    start: int
    end: int
    confidence: float
    rule: str
    action: str
