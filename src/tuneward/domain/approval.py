"""Approval: the question whether a use case may be trained, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Approval:
    """A request and, once decided, the decision.

    Attributes:
        id: ``apr_…``.
        project: the project's name.
        dataset: the dataset's id.
        scope: what is asked for: purpose, base, dataset fingerprint, training and evaluation settings, risk class.
        scope_digest: digest of ``scope``; a run whose scope differs is not covered.
        justification: the requester's words.
        risk_class: ``minimal | limited | high``.
        requested_by: member id.
        requested_at: UTC, ISO 8601.
        status: ``requested | granted | refused``.
        decided_by: member id, or None.
        decided_at: UTC, ISO 8601, or None.
        reason: the decider's words, or None.
        self_granted: True when requester and decider are one person.
        policy: name and version of the policy under which it was decided, or None.
    """

    id: str
    project: str
    dataset: str
    scope: Mapping[str, Any]
    scope_digest: str
    justification: str
    risk_class: str
    requested_by: str
    requested_at: str
    status: str = "requested"
    decided_by: str | None = None
    decided_at: str | None = None
    reason: str | None = None
    self_granted: bool = False
    policy: str | None = None
