"""Line: what the self-check says of one statement. Loads no torch.

Place on the road: made by ``statement`` in the self-check's process, shown by ``cli``.
"""

from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class Line:
    """One statement and what was measured.

    Attributes:
        name: short name of the statement; stable.
        claim: what must hold.
        compared: what was measured against what.
        on: the part of the model that computed: ``whole model``, some of its layers, or ``tokens`` where none did.
        measured: the difference found; None where nothing was measured.
        tolerance: the largest difference that passes.
        unit: what the difference counts: ``relative`` (of the largest value), or things such as ``rows``.
        verdict: ``pass``, ``fail`` or ``not applicable``.
        reason: why it is not applicable, or what failed; else empty.
        seconds: how long it took.
    """

    name: str
    claim: str
    compared: str
    on: str
    measured: float | None
    tolerance: float | None
    unit: str
    verdict: Verdict
    reason: str
    seconds: float

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Line":
        """From a dict of the attributes, as ``dataclasses.asdict`` gives it."""
        return cls(**value)
