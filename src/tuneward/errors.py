r"""The one tree of errors.

Place on the road: everywhere. Every error of ours carries one or more :class:`Fault`; each has a stable code, says
what is wrong, where, and what cures it. ``cli`` maps the classes to exit codes once, ``web`` maps them to HTTP once.
This file does not know who raises what; it only knows the codes (``CODES``), which ``docs/errors.md`` documents.

A fault never quotes a data subject's text: rows are named by file and line or by record id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


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
        assert self.code in CODES, f"{self.code} is not in errors.CODES"

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


#: Every code with its one-line meaning. The middle part names the room. Codes are never reused.
CODES: dict[str, str] = {
    # configuration ----------------------------------------------------------------------------------------------
    "TW-CONF-001": "tuneward.yaml was not found",
    "TW-CONF-002": "tuneward.yaml is not valid YAML or not UTF-8",
    "TW-CONF-003": "unknown setting",
    "TW-CONF-004": "a setting has a wrong type or value",
    "TW-CONF-005": "a required setting is missing",
    "TW-CONF-006": "the same setting is given twice",
    "TW-CONF-007": "a command's option is wrong",
    # serving: gateway, engine process, client, canary -------------------------------------------------------------
    "TW-SERV-030": "the gateway would listen on an address that other machines can reach",
    "TW-SERV-031": "the gateway's port cannot be opened",
    "TW-SERV-032": "the engine did not start",
    "TW-SERV-033": "the engine ended by itself",
    "TW-SERV-034": "the engine does not answer, or broke off an answer",
    "TW-SERV-035": "the engine refused the request",
    "TW-SERV-036": "prompt and answer do not fit into the model's context",
    "TW-SERV-037": "an adapter cannot be loaded into the engine",
    "TW-SERV-038": "the adapter does not change its base",
    "TW-SERV-039": "the adapter does not behave as it did at its evaluation",
    "TW-SERV-040": "there is no active deployment to serve",
    "TW-SERV-041": "the API key is missing, wrong or revoked",
    "TW-SERV-042": "no such model",
    "TW-SERV-043": "the request body is not a JSON object",
    "TW-SERV-044": "a field of the request is wrong or missing",
    "TW-SERV-045": "a field of the request is not supported",
    "TW-SERV-046": "the request body is too large",
    "TW-SERV-047": "no such route",
    "TW-SERV-048": "the audit log cannot be written, so there is no answer",
    "TW-SERV-049": "the answer took too long",
    "TW-SERV-050": "the gateway did not start or stopped by itself",
    "TW-SERV-051": "the request body did not arrive in time",
    # storage: site, database, artefacts -------------------------------------------------------------------------
    "TW-STOR-001": "no site was found",
    "TW-STOR-002": "a site is already there",
    "TW-STOR-003": "the site is damaged, or was made by another version",
    "TW-STOR-004": "the database was made by a newer version",
    "TW-STOR-005": "another process works on this site",
    "TW-STOR-006": "the database cannot be read or written",
    "TW-STOR-007": "the disk is full",
    "TW-STOR-008": "a row contradicts the rows that are there",
    "TW-STOR-009": "an artefact is not in the store",
    "TW-STOR-010": "not a digest",
    "TW-STOR-011": "a file or folder cannot become an artefact",
    "TW-STOR-012": "a file or folder of the site cannot be read or written",
    "TW-STOR-013": "a value cannot be stored",
    # governance: keys, policies, members, approvals ---------------------------------------------------------------
    "TW-GOV-001": "whoever acts is not a member of the site",
    "TW-GOV-002": "the role may not do this under the policy",
    "TW-GOV-003": "there is no such policy",
    "TW-GOV-004": "there is no such approval request",
    "TW-GOV-005": "the request is decided already",
    "TW-GOV-006": "the policy wants a second person",
    "TW-GOV-007": "an approval request or its decision is incomplete",
    "TW-GOV-008": "the same thing was requested already",
    "TW-GOV-009": "a member cannot be added",
    "TW-GOV-010": "the site's keys are missing",
    "TW-GOV-011": "the site's keys can be read by others",
    "TW-GOV-012": "the site's keys are damaged",
    "TW-GOV-013": "the site has keys already",
    "TW-GOV-014": "there is no such API key, or it is revoked",
    "TW-GOV-015": "the policy says nothing about this action",
    # proof: artefacts and log -------------------------------------------------------------------------------------
    "TW-PROOF-001": "an artefact's bytes are not the ones that its digest names",
    "TW-PROOF-002": "an event was changed after it was written",
    "TW-PROOF-003": "an event is missing from the log",
    "TW-PROOF-004": "the log does not lead to the root of a signed checkpoint",
    "TW-PROOF-005": "the log is shorter than a signed checkpoint says",
    "TW-PROOF-006": "a checkpoint is not well formed, or not signed by the site's key",
    "TW-PROOF-007": "two checkpoints of one size contradict each other",
    "TW-PROOF-008": "a governed row is not the one that the log committed",
    "TW-PROOF-009": "a governed row stands in no event of the log",
}
