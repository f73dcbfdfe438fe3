"""Provenance: everything that one version rests on, handed in as plain nouns.

Place on the road: ``workflows.register`` collects it from storage; statement, AIBOM and model card are made from it,
and ``verify`` makes the statement again from the same. Knows no database and no evaluation code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from tuneward.digests import digest_value
from tuneward.domain.approval import Approval
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.law import LicenceDecision
from tuneward.domain.run import Adapter, Run, trained_kind
from tuneward.errors import Fault
from tuneward.registry.notice import NoticeFacts


@dataclass(frozen=True)
class Provenance:
    """What a version rests on.

    Attributes:
        number: 1, 2, 3… within the project.
        purpose: what the project is for, in the project's own words.
        base: the base model.
        dataset: the prepared rows.
        run: the training.
        adapter: what the run left.
        approval: the granted approval, or None where the policy asks for none.
        evaluation: the comparison and the gate's verdict.
        report: ``report.json`` of the evaluation.
        created_at: UTC, ISO 8601; the only time that enters the papers beside the run's.
        tool_version: version of Tuneward that makes the papers.
        duties: what the base's licence asks of whoever uses or passes on the model, one sentence each.
        decision: on the base's licence, as it was in force when the version was registered, or None.
        law: licences of the rows and what they ask (``counts["law"]``), as they were permitted at the registering.
        adapter_files: path → ``{"digest", "bytes"}`` of the adapter's artefact tree.
    """

    number: int
    purpose: str
    base: Base
    dataset: Dataset
    run: Run
    adapter: Adapter
    approval: Approval | None
    evaluation: Evaluation
    report: Mapping[str, Any]
    created_at: str
    tool_version: str
    duties: tuple[str, ...] = ()
    adapter_files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    decision: LicenceDecision | None = None
    law: Mapping[str, Any] = field(default_factory=dict)

    @property
    def licence(self) -> str:
        """The licence under which the base is used: the decided one, else the one that its files state."""
        return self.base.licence if self.decision is None else self.decision.licence

    @property
    def notice(self) -> NoticeFacts:
        """What the version's NOTICE tells."""
        return NoticeFacts(
            project=self.project,
            number=self.number,
            base=self.base_name,
            base_digest=self.base.id,
            licence=self.licence,
            stated=self.base.licence,
            decision=self.decision.id if self.decision else None,
            reason=self.decision.reason if self.decision else "",
            duties=self.duties,
            law=self.law,
            merged=self.is_whole,
        )

    @property
    def project(self) -> str:
        """The project's name."""
        return self.run.project

    @property
    def base_name(self) -> str:
        """The base's name for outsiders: of a local path its last part, since the others often name a person."""
        local = self.base.source.get("kind") in {"folder", "gguf"}
        return (PurePath(self.base.name).name or "local") if local else self.base.name

    @property
    def adapter_kind(self) -> str:
        """The kind in one word, as the run's settings name it: ``lora``, ``qlora+dora``, ``full``."""
        settings = self.run.config["adapter"]
        return "+".join([settings["kind"], *(name for name in ("rslora", "dora") if settings.get(name))])

    @property
    def method(self) -> str:
        """What was learned, as the run's settings name it: ``pretrain``, ``sft``, ``dpo``, ``reward``."""
        return str(self.run.config.get("method", "sft"))

    @property
    def method_words(self) -> str:
        """The method for a reader, with the loss of preferences."""
        if self.method == "dpo":
            loss = str(self.run.config.get("preference", {}).get("loss", "dpo"))
            return f"preferences between answers (dpo{'' if loss == 'dpo' else f', loss {loss}'})"
        words = {
            "pretrain": "every token of documents (pretrain)",
            "sft": "answers of conversations (sft)",
            "reward": "a score that tells the better of two answers (reward)",
        }
        return words.get(self.method, self.method)

    @property
    def is_whole(self) -> bool:
        """Whether every weight was trained, so that the model takes its base's place."""
        return self.adapter.kind == "full"

    @property
    def quantisation(self) -> str:
        """How the base is kept where the model is evaluated and served: ``none``, ``nf4`` or ``nf4-all``."""
        return self.adapter.quantisation

    @property
    def adapter_words(self) -> str:
        """The kind for a reader, with its rank."""
        kind, *variants = self.adapter_kind.split("+")
        if kind == "full":
            return "every weight trained"
        name = "DoRA" if "dora" in variants else "LoRA"
        scaled = ", rsLoRA scaling" if "rslora" in variants else ""
        beside = ", trained, evaluated and served beside a base kept in 4 bits (NF4)" if kind == "qlora" else ""
        beside += ", embedding and output head too" if self.quantisation == "nf4-all" else ""
        return f"{name}, rank {self.adapter.rank}{scaled}{beside}"

    def faults(self) -> list[Fault]:
        """One fault for each pair of nouns that do not belong together."""
        return [
            Fault(
                "TW-REG-002", f"{what}: {left} is not {right}", f"version {self.number}", "register the run's own nouns"
            )
            for what, left, right in self._pairs()
            if left != right
        ]

    def _pairs(self) -> Iterator[tuple[str, object, object]]:
        run, evaluation, adapter = self.run, self.evaluation, self.adapter
        yield "the run's base", run.base, self.base.id
        yield "the run's dataset", run.dataset, self.dataset.id
        yield "the run's adapter", run.adapter, adapter.id
        yield "the run's approval", run.approval, self.approval.id if self.approval else None
        yield "the run's status", run.status, "finished"
        yield "the adapter's base", adapter.base, self.base.id
        yield "the adapter's kind", adapter.kind, trained_kind(run.config.get("adapter", {}))
        yield "the dataset's base", self.dataset.base, self.base.id
        yield "the dataset's project", self.dataset.project, run.project
        yield "the evaluation's project", evaluation.project, run.project
        yield "the evaluation's run", evaluation.run, run.id
        yield "the evaluation's adapter", evaluation.adapter, adapter.id
        yield "the evaluation's base", evaluation.base, self.base.id
        yield "the evaluation's dataset", evaluation.dataset, self.dataset.id
        if self.approval:
            yield "the approval's status", self.approval.status, "granted"
            yield "the approval's project", self.approval.project, run.project
            yield "the approval's dataset", self.approval.dataset, self.dataset.id
        if self.decision:
            yield "the licence decision's base", self.decision.base, self.base.id
        if self.adapter_files:
            yield "the adapter's file list", digest_value(self.adapter_files), adapter.id
