"""The statement that is signed: this adapter, or whole model, came from these rows, this approval, run and evaluation.

Place on the road: made by ``register``, made again from the records by ``verify`` and compared. Holds ids, digests,
names and the verdict; no text of any row and no name of any person.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tuneward.digests import digest_value
from tuneward.errors import Fault
from tuneward.registry.provenance import Provenance
from tuneward.registry.signing import STATEMENT_TYPE
from tuneward.storage.repository import noun_digest

#: Names the meaning of the predicate; a changed meaning gets a new URI, and this one stays readable.
PREDICATE_TYPE = "https://tuneward.dev/attestation/version/v1"


def make_statement(provenance: Provenance, *, aibom: str, model_card: str, notice: str | None = None) -> dict[str, Any]:
    """Build the in-toto Statement v1 of a version.

    Args:
        provenance: what the version rests on.
        aibom: SHA-256 of the AIBOM's bytes.
        model_card: SHA-256 of the model card's bytes.
        notice: SHA-256 of the NOTICE's bytes; None for versions of before there was one.

    Returns:
        Plain JSON without floating-point numbers, so that every language agrees on its canonical bytes. The subject's
        digest is that of the adapter's artefact tree: SHA-256 over its manifest (path → digest and bytes) as
        canonical JSON. What departs from a LoRA adapter made by ``sft`` from nothing stands under ``training``, and is
        left out where nothing does, as statements of before had it.
    """
    base, dataset, run, evaluation = provenance.base, provenance.dataset, provenance.run, provenance.evaluation
    approval = provenance.approval
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"{provenance.project}/{provenance.number}/{'model' if provenance.is_whole else 'adapter'}",
                "digest": {"sha256": provenance.adapter.id},
            }
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "project": provenance.project,
            "number": provenance.number,
            "created_at": provenance.created_at,
            "base": {
                "digest": base.id,
                "name": provenance.base_name,
                "licence": base.licence,
                **_decided(provenance),
            },
            "dataset": {"id": dataset.id, "fingerprint": dataset.fingerprint, "tree": dataset.tree},
            "run": {
                "id": run.id,
                "config": digest_value(run.config),
                "inputs": run.inputs_digest,
                "seed": run.seed,
            },
            **_departures(provenance),
            "approval": None if approval is None else {"id": approval.id, "digest": noun_digest(approval)},
            "evaluation": {
                "id": evaluation.id,
                "report": evaluation.report,
                "gate": digest_value(evaluation.gate),
                "passed": evaluation.passed,
                "reasons": list(evaluation.reasons),
            },
            "papers": {"aibom": aibom, "model_card": model_card, **({"notice": notice} if notice else {})},
            "tool": {"name": "tuneward", "version": provenance.tool_version},
        },
    }


def _decided(provenance: Provenance) -> dict[str, Any]:
    decision = provenance.decision
    return {"decision": {"id": decision.id, "digest": noun_digest(decision)}} if decision else {}


def _departures(provenance: Provenance) -> dict[str, Any]:
    told = {"kind": provenance.adapter.kind, "method": provenance.method, "base_kept_in": provenance.quantisation}
    plain = {"kind": "lora", "method": "sft", "base_kept_in": "none"}
    start = {} if provenance.run.start is None else {"start": {"digest": provenance.run.start}}
    return {"training": {**told, **start}} if start or told != plain else {}


def compare_statements(signed: Mapping[str, Any], expected: Mapping[str, Any], *, place: str) -> list[Fault]:
    """One fault for every leaf in which the signed statement is not the one that the records ask for."""
    cure = "find out which of the two was changed: the audit log names every write"
    return [
        Fault("TW-PROOF-025", f"`{path}` is {_shown(left)} as signed, {_shown(right)} in the records", place, cure)
        for path, left, right in _differences(signed, expected, "")
    ]


_ABSENT = object()


def _differences(left: Any, right: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in sorted({*left, *right}):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(left.get(key, _ABSENT), right.get(key, _ABSENT), inner)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, two) in enumerate(zip(left, right, strict=True)):
            yield from _differences(one, two, f"{path}[{index}]")
    elif left != right or type(left) is not type(right):
        yield path, left, right


def _shown(value: Any) -> str:
    return "missing" if value is _ABSENT else f"{str(value)[:80]!r}"
