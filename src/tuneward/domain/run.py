"""Run: one training; Checkpoint: a place to go on from; Adapter: what a run leaves, an update or a whole model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuneward.domain.later import later


@dataclass(frozen=True)
class Run:
    """One training, with everything frozen that it depends on.

    Attributes:
        id: ``run_…``.
        project: the project's name.
        dataset: the dataset's id.
        approval: the approval's id, or None where the policy asks for none.
        base: digest of the base model.
        config: the training section, canonical.
        inputs_digest: digest of dataset fingerprint, base digest and config: the same inputs are not trained twice.
        seed: seeds shuffling and adapter initialisation.
        status: ``running | finished | failed``.
        started_at: UTC, ISO 8601.
        finished_at: UTC, ISO 8601, or None.
        figures: final loss, tokens, seconds, peak memory and the like; empty until finished.
        curve: digest of the artefact tree with the loss curve as numbers and as a picture, or None.
        adapter: digest of the adapter, or None until finished.
        start: digest of the adapter (or whole model) that training began with, or None where it began at the base.
    """

    id: str
    project: str
    dataset: str
    approval: str | None
    base: str
    config: Mapping[str, Any]
    inputs_digest: str
    seed: int
    status: str
    started_at: str
    finished_at: str | None
    figures: Mapping[str, Any]
    curve: str | None
    adapter: str | None
    start: str | None = later(None)


#: How the folder of a checkpoint begins, in the folder ``checkpoints`` of its run's scratch folder.
CHECKPOINT = "step-"


@dataclass(frozen=True)
class Checkpoint:
    """State from which a run goes on bit for bit.

    Attributes:
        step: optimizer steps done.
        folder: name of its folder inside the run's scratch folder.
        digest: SHA-256 over the state file's bytes.
    """

    step: int
    folder: str
    digest: str


@dataclass(frozen=True)
class Adapter:
    """What a run trained, named by the digest of its artefact tree.

    Attributes:
        id: digest of the artefact tree: of an update a PEFT folder (``adapter_config.json`` and
            ``adapter_model.safetensors``), of kind ``full`` a whole model's folder, complete as a base's.
        run: the run that made it.
        base: digest of the base it belongs to, or began at.
        rank: rank of the update; 0 where every weight is trained.
        alpha: numerator of the scaling alpha / rank; 0 where every weight is trained.
        parameters: trained parameters.
        created_at: UTC, ISO 8601.
        kind: ``lora``, an update of the base as it is; ``qlora``, one of the base kept in four bits (NF4), which it is
            evaluated and served beside; ``qlora-all``, the same where embedding and output head were in four bits too;
            ``full``, a model in the base's place.
    """

    id: str
    run: str
    base: str
    rank: int
    alpha: float
    parameters: int
    created_at: str
    kind: str = later("lora")

    @property
    def quantisation(self) -> Literal["none", "nf4", "nf4-all"]:
        """How the base is kept beside it, in training, evaluation and service.

        In its own type, with linear layers in four bits, or with embedding and output head in four bits as well.
        """
        kept: dict[str, Literal["nf4", "nf4-all"]] = {"qlora": "nf4", "qlora-all": "nf4-all"}
        return kept.get(self.kind, "none")


def trained_kind(settings: Mapping[str, Any]) -> str:
    """The kind of an adapter from the ``adapter`` section of its run's settings; see :class:`Adapter`."""
    return f"{settings.get('kind', '')}{'-all' if settings.get('quantise_embeddings') else ''}"
