"""The AIBOM: a CycloneDX 1.7 document of one version.

Place on the road: one of the papers that ``register`` makes. Built as plain dicts, because the Python library of
CycloneDX drops model cards, data and formulation when it reads or writes; its validator checks us in the tests.

Deterministic: the same provenance gives the same bytes; the time comes in, and the serial number is derived from the
content. Holds names, digests, settings and figures; no text of any row.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from tuneward.digests import canonical_json, digest_value
from tuneward.errors import Fault
from tuneward.registry.figures import limits, number, performance
from tuneward.registry.provenance import Provenance
from tuneward.storage.repository import noun_digest

SCHEMA = "http://cyclonedx.org/schema/bom-1.7.schema.json"

#: Licences written as SPDX ids; any other goes by its own name, which CycloneDX accepts for every licence.
SPDX_IDS = frozenset(
    {
        "0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause",
        "BSL-1.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ECL-2.0", "EPL-2.0",
        "EUPL-1.2", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "ISC", "LGPL-3.0-only", "MIT", "MIT-0",
        "MPL-2.0", "NCSA", "Unlicense", "Zlib",
    }
)  # fmt: skip

_MODEL, _BASE, _DATA, _RUN = "model", "base", "dataset", "run"


def make_aibom(provenance: Provenance) -> bytes:
    """Build the document; JSON with sorted keys, one space of indentation, UTF-8."""
    bom = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "version": 1,
        "metadata": {
            "timestamp": provenance.created_at,
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "tuneward", "version": provenance.tool_version}]},
            "component": _model(provenance),
        },
        "components": [_base(provenance), _dataset(provenance)],
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [_BASE, _DATA]},
            {"ref": _BASE},
            {"ref": _DATA},
        ],
        "formulation": [_formula(provenance)],
        "compositions": [
            {"aggregate": "complete", "assemblies": [_MODEL]},
            {"aggregate": "unknown", "assemblies": [_BASE]},
        ],
    }
    bom["serialNumber"] = (
        f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'https://tuneward.dev/aibom/{digest_value(bom)}')}"
    )
    faults = lint(bom)
    assert not faults, faults
    return json.dumps(bom, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _model(provenance: Provenance) -> dict[str, Any]:
    adapter, approval = provenance.adapter, provenance.approval
    facts: dict[str, object] = {
        "project": provenance.project,
        "adapter:kind": provenance.adapter_kind,
        "adapter:rank": adapter.rank,
        "adapter:alpha": adapter.alpha,
        "adapter:parameters": adapter.parameters,
        "method": provenance.method,
        "served:base_kept_in": provenance.quantisation,
        "adapter:digest": "SHA-256 over the canonical manifest of the adapter folder (path, digest, bytes)",
        "approval": "none asked by the policy" if approval is None else approval.id,
        "evaluation": provenance.evaluation.id,
        "evaluation:report": provenance.evaluation.report,
        "gate:passed": provenance.evaluation.passed,
    }
    if approval is not None:
        facts |= {
            "approval:digest": noun_digest(approval),
            "approval:risk_class": approval.risk_class,
            "approval:policy": approval.policy or "",
            "approval:self_granted": approval.self_granted,
        }
    if provenance.run.start is not None:
        facts["start"] = provenance.run.start
    weights = "from the base" if provenance.is_whole else "the base and its weights are unchanged"
    notes = f"{provenance.adapter_words}; {weights}; learned {provenance.method_words}"
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": provenance.project,
        "version": str(provenance.number),
        "description": provenance.purpose,
        "hashes": [_sha256(adapter.id)],
        "licenses": [_licence(provenance.licence, decided=provenance.decision is not None)],
        "pedigree": {
            "ancestors": [_base(provenance, ref="pedigree-base")],
            "notes": notes,
        },
        "modelCard": _model_card(provenance),
        "properties": _properties(facts),
    }
    if provenance.adapter_files:
        model["components"] = [
            {"type": "file", "bom-ref": f"file:{path}", "name": path, "hashes": [_sha256(entry["digest"])]}
            for path, entry in sorted(provenance.adapter_files.items())
        ]
    return model


def _model_card(provenance: Provenance) -> dict[str, Any]:
    return {
        "bom-ref": "model-card",
        "modelParameters": {
            "approach": {"type": "self-supervised" if provenance.method == "pretrain" else "supervised"},
            "task": "text-classification" if provenance.method == "reward" else "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": provenance.base.architecture,
            "datasets": [{"ref": _DATA}],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "json" if provenance.report["task"]["kind"] == "json" else "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": performance(provenance.report)},
        "considerations": {
            "useCases": [provenance.purpose],
            "technicalLimitations": limits(provenance.report),
        },
    }


def _base(provenance: Provenance, *, ref: str = _BASE) -> dict[str, Any]:
    base = provenance.base
    # A local path says nothing to an outsider, and often names a person: it stays out.
    source = {key: value for key, value in base.source.items() if key not in {"path", "also_named"}}
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": provenance.base_name,
        "hashes": [_sha256(base.id)],
        "licenses": [_licence(provenance.licence, decided=provenance.decision is not None)],
        "properties": _properties(
            {
                **_decision(provenance),
                "base:parameters": base.parameters,
                "base:context_tokens": base.context_tokens,
                "base:source": canonical_json(source).decode(),
            }
        ),
    }
    address = package_url(base.source)
    if address:
        component["purl"] = address
    return component


def _dataset(provenance: Provenance) -> dict[str, Any]:
    dataset = provenance.dataset
    licences = _data_licences(provenance)
    duties = [f"{duty['kind']}: {duty['text']}" for duty in provenance.law.get("duties") or ()]
    return {
        **({"licenses": licences} if licences else {}),
        "type": "data",
        "bom-ref": _DATA,
        "name": dataset.id,
        "hashes": [_sha256(dataset.tree)],
        "data": [
            {
                "type": "dataset",
                "name": f"{provenance.project}: training and held-out rows",
                "contents": {
                    "properties": _properties(
                        {
                            "dataset:fingerprint": dataset.fingerprint,
                            "dataset:train_rows": dataset.train_rows,
                            "dataset:test_rows": dataset.test_rows,
                            "dataset:counts": canonical_json(dataset.counts).decode(),
                            **({"dataset:terms": dataset.terms} if dataset.terms else {}),
                            **{f"dataset:duty:{place}": duty for place, duty in enumerate(duties, start=1)},
                        }
                    )
                },
            }
        ],
    }


def _formula(provenance: Provenance) -> dict[str, Any]:
    run, evaluation = provenance.run, provenance.evaluation
    settings = {f"training.{name}": value for name, value in _flat(run.config)}
    settings["seed"] = str(run.seed)
    parameters = [{"name": name, "value": value} for name, value in sorted(settings.items())]
    figures = {f"training:{name}": value for name, value in _flat(run.figures)}
    train: dict[str, Any] = {
        "bom-ref": "task-train",
        "uid": run.id,
        "name": "train",
        "taskTypes": ["build"],
        "inputs": [
            {"resource": {"ref": _BASE}},
            {"resource": {"ref": _DATA}},
            {"parameters": parameters},
        ],
        "outputs": [{"type": "artifact", "resource": {"ref": _MODEL}}],
        "timeStart": run.started_at,
        "properties": _properties({"run:inputs_digest": run.inputs_digest, **figures}),
    }
    if run.finished_at:
        train["timeEnd"] = run.finished_at
    evaluate = {
        "bom-ref": "task-evaluate",
        "uid": evaluation.id,
        "name": "evaluate",
        "taskTypes": ["test"],
        "inputs": [{"resource": {"ref": _MODEL}}, {"resource": {"ref": _BASE}}, {"resource": {"ref": _DATA}}],
        "properties": _properties(
            {f"gate:reason:{place}": reason for place, reason in enumerate(evaluation.reasons, start=1)}
            | {"evaluation:report": evaluation.report}
        ),
    }
    return {
        "bom-ref": "formula",
        "workflows": [
            {
                "bom-ref": _RUN,
                "uid": f"{provenance.project}/{provenance.number}",
                "taskTypes": ["build", "test"],
                "tasks": [train, evaluate],
            }
        ],
    }


def package_url(source: Mapping[str, Any]) -> str | None:
    """The base's package URL, pinned to a version or commit; None for a local folder."""
    if source.get("kind") == "wheel" and {"package", "version"} <= source.keys():
        return f"pkg:pypi/{quote(str(source['package']).lower().replace('_', '-'))}@{quote(str(source['version']))}"
    if source.get("kind") == "hub" and {"model", "revision"} <= source.keys():
        return f"pkg:huggingface/{quote(str(source['model']))}@{quote(str(source['revision']))}"
    return None


def _licence(name: str, *, decided: bool = False) -> dict[str, Any]:
    said = "concluded" if decided else "declared"
    if any(f" {word} " in name.upper() for word in ("AND", "OR", "WITH")):
        return {"expression": name, "acknowledgement": said}
    named = {"id": name} if name in SPDX_IDS else {"name": name or "not declared"}
    return {"license": {**named, "acknowledgement": said}}


def _decision(provenance: Provenance) -> dict[str, object]:
    """The decision on the base's licence, without the name of who decided."""
    decision = provenance.decision
    if decision is None:
        return {}
    return {
        "base:licence:stated": decision.stated,
        "base:licence:decision": decision.id,
        "base:licence:reason": decision.reason,
        "base:licence:use": decision.use,
        "base:licence:text": decision.text_digest or "none beside the weights",
    }


def _data_licences(provenance: Provenance) -> list[dict[str, Any]]:
    """Licences of the rows; an expression may only stand alone in CycloneDX, so that several go by their names."""
    names = sorted(provenance.law.get("licences") or {})
    if len(names) == 1:
        return [_licence(names[0])]
    named = [{"id": name} if name in SPDX_IDS else {"name": name} for name in names]
    return [{"license": {**one, "acknowledgement": "declared"}} for one in named]


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _properties(values: Mapping[str, object]) -> list[dict[str, str]]:
    return [{"name": f"tuneward:{name}", "value": number(value)} for name, value in sorted(values.items())]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in sorted(value.items()):
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", number(inner)


#: Where 1.7 refers to another element of the same document by its ``bom-ref``.
_REFERRING = ("ref", "dependsOn", "provides", "assemblies", "subjects", "target", "resourceReferences")


def lint(bom: Mapping[str, Any]) -> list[Fault]:
    """What the schema's validator does not see: references to nothing, one name twice, model cards on other things."""
    names: list[str] = []
    references: list[str] = []
    faults: list[Fault] = []
    for element in _elements(bom):
        names += [element["bom-ref"]] if "bom-ref" in element else []
        for key in _REFERRING:
            found = element.get(key, [])
            references += [entry for entry in ([found] if isinstance(found, str) else found) if isinstance(entry, str)]
        if "modelCard" in element and element.get("type") != "machine-learning-model":
            faults.append(Fault("TW-REG-001", "a model card stands on something that is no model", "aibom.cdx.json"))
    cure = "name each element once, and refer only to elements of this document"
    twice = sorted({name for name in names if names.count(name) > 1})
    dangling = sorted(set(references) - set(names))
    faults += [Fault("TW-REG-001", f"`{name}` names two elements", "aibom.cdx.json", cure) for name in twice]
    faults += [Fault("TW-REG-001", f"`{name}` names no element", "aibom.cdx.json", cure) for name in dangling]
    return faults


def _elements(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for inner in value.values():
            yield from _elements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _elements(inner)
