"""Evaluation: base and tuned on the same items, and the gate's verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes:
        id: ``evl_…``.
        project: the project's name.
        run: the run's id.
        adapter: digest of the adapter that was measured.
        base: digest of the base that it was measured against.
        dataset: the dataset's id (its test rows were the items).
        inputs_digest: digest of adapter, base, test rows and evaluation settings.
        report: digest of the artefact tree with ``report.json`` (every figure with n and interval) and ``items.jsonl``.
        gate: the thresholds, frozen as they stood.
        passed: the gate's verdict.
        reasons: one line per threshold: what was asked, what was measured.
        canary: reference log-probabilities of base and tuned on fixed prompts, to be met again at deployment.
        created_at: UTC, ISO 8601.
    """

    id: str
    project: str
    run: str
    adapter: str
    base: str
    dataset: str
    inputs_digest: str
    report: str
    gate: Mapping[str, Any]
    passed: bool
    reasons: tuple[str, ...]
    canary: Mapping[str, Any]
    created_at: str
