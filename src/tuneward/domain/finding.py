"""Finding: what an inspection saw in a text, never the text itself; FindingEntry: what the register keeps of it."""

from dataclasses import dataclass
from typing import Literal

from tuneward.domain.later import later

#: What a policy wants done, mildest first: leave it; leave it and record it; put a consistent fake in its place; put a
#: typed placeholder there; leave the row out; stop the step.
Action = Literal["allow", "tag", "pseudonymise", "redact", "drop", "block"]


@dataclass(frozen=True)
class Finding:
    """A span of one field that a detector recognised.

    Attributes:
        kind: what it is: ``email``, ``phone``, ``iban``, ``card``, ``api_key``… or, where a site's own lists and
            patterns saw it, ``term:<list>`` and ``pattern:<name>``.
        start: first character of the span in the raw text.
        end: one past the last character.
        confidence: 0 to 1.
        rule: the detector's rule that matched.
        view: in which form of the text it was seen: ``raw``, ``normalised``, ``base64``, ``hex``, ``url``, or two of
            them, outermost first (``base64>url``). The span points into the raw text all the same.
    """

    kind: str
    start: int
    end: int
    confidence: float
    rule: str
    view: str = "raw"

    @property
    def values(self) -> tuple[str, int, int, float, str, str]:
        """Its fields in order; law: ``Finding(*finding.values) == finding``."""
        return self.kind, self.start, self.end, self.confidence, self.rule, self.view


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
        action: what the policy did: ``tag | pseudonymise | redact | drop | block``.
        view: see :class:`Finding`.
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
    view: str = later("raw")
