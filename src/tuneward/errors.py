r"""The one tree of errors.

Place on the road: everywhere. Every error of ours carries one or more :class:`Fault`; each has a stable code, says
what is wrong, where, and what cures it. ``cli`` maps the classes to exit codes once, ``web`` maps them to HTTP once.
This file does not know who raises what; the codes stand in ``error_codes``, and ``docs/errors.md`` documents them.

A fault never quotes a data subject's text: rows are named by file and line or by record id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from tuneward.error_codes import CODES


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        code: a key of ``CODES``, stable across releases.
        message: what is wrong, with the offending value where that is no personal data.
        place: ``file:line``, a setting such as ``training.epochs``, or an id; empty when there is no better place.
        cure: what the reader can do about it.
    """

    code: str
    message: str
    place: str = ""
    cure: str = ""

    def __post_init__(self) -> None:
        assert self.code in CODES, f"{self.code} is not in CODES"

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        cure = f"\n    cure: {self.cure}" if self.cure else ""
        return f"[{self.code}] {where}{self.message}{cure}"

    def to_json(self) -> dict[str, str]:
        """The fault as the ``--json`` output and the gateway's console show it."""
        return {"code": self.code, "message": self.message, "place": self.place, "cure": self.cure}


class TunewardError(Exception):
    """Root of the tree; holds all faults found, never only the first.

    Args:
        faults: one fault, or several (must not be empty).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, faults: Fault | Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        assert self.faults, "an error needs at least one fault"
        super().__init__("\n".join(str(f) for f in self.faults))

    def to_json(self) -> dict[str, Any]:
        """The documented error object of ``--json``."""
        return {"error": {"kind": type(self).__name__, "faults": [f.to_json() for f in self.faults]}}


class ConfigError(TunewardError):
    """``tuneward.yaml``, an option or an environment variable is wrong."""

    exit_code = 2


class DataError(TunewardError):
    """Training or test data cannot be used as they are."""

    exit_code = 3


class ModelError(TunewardError):
    """A base model cannot be pulled, is damaged, or may not be used so."""

    exit_code = 4


class TrainingError(TunewardError):
    """A run cannot start or had to stop."""

    exit_code = 5


class EvaluationError(TunewardError):
    """An evaluation cannot be made, or its gate says no."""

    exit_code = 6


class GovernanceError(TunewardError):
    """A role, policy or approval forbids the action."""

    exit_code = 7


class ProofError(TunewardError):
    """A digest, signature, log or link of the chain does not check out."""

    exit_code = 8


class ServingError(TunewardError):
    """The engine or gateway cannot start or cannot answer."""

    exit_code = 9


class StorageError(TunewardError):
    """The site's database or artefact store cannot be read or written."""

    exit_code = 10


class MachineError(TunewardError):
    """The machine lacks something (a package, memory, a device)."""

    exit_code = 11
