"""Settings of a training run (``training:`` in ``tuneward.yaml``).

Place on the road: validated with the project, frozen into the Run as canonical JSON with its digest. Loads no torch.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section
from tuneward.modeling.config import AdapterConfig

#: Settings that decide how a run is computed and not what: sums come in another order, dropout and NEFTune draw other
#: numbers, and that is all. An interrupted run goes on with others of them.
COMPUTED_BY = ("window_tokens", "head_memory_mib", "recompute")
HOW = (*COMPUTED_BY, "processes", "checkpoint_seconds", "tracking")


def what_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, canonical, without those that decide how it is computed."""
    return {name: value for name, value in settings.items() if name not in HOW}


class PreferenceConfig(Section):
    """How a model learns from preferences (method ``dpo``). A setting that the loss does not read is refused."""

    loss: Literal["dpo", "ipo", "simpo", "orpo", "kto"] = "dpo"
    """The loss: ``dpo`` (with ``label_smoothing`` its conservative form), ``ipo``, ``simpo`` and ``orpo`` learn from
    pairs of answers, ``kto`` from single answers with a verdict. ``dpo``, ``ipo`` and ``kto`` measure against the model
    as training finds it, ``simpo`` and ``orpo`` need no reference."""

    beta: float | None = Field(default=None, gt=0, le=100)
    """How strongly the reference holds the model: larger stays nearer. Of ``simpo`` the scale of the reward, of
    ``orpo`` the weight of the odds ratio. Left out: 0.1, with ``simpo`` 2."""

    gamma: float | None = Field(default=None, ge=0, le=100)
    """``simpo``: by how much the chosen answer's reward should exceed the other's. Left out: 0.5."""

    label_smoothing: float | None = Field(default=None, ge=0, lt=0.5)
    """``dpo`` and ``simpo``: share of pairs whose order is taken to be wrong. Left out: 0."""

    sft_weight: float | None = Field(default=None, ge=0, le=100)
    """Weight of the chosen answers' mean cross-entropy, added to the loss of pairs. Left out: 0, with ``orpo`` 1."""

    desirable_weight: float | None = Field(default=None, ge=0, le=100)
    """``kto``: weight of desirable answers. Left out: 1."""

    undesirable_weight: float | None = Field(default=None, ge=0, le=100)
    """``kto``: weight of undesirable answers. Left out: 1."""

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if self.desirable_weight == self.undesirable_weight == 0:
            raise ValueError("with both weights 0 nothing is learned: leave one of them out")
        return self


class RewardConfig(Section):
    """How a score for answers is learned from pairs (method ``reward``)."""

    margin: bool = True
    """Whether the score of the chosen answer must exceed the other's by the margin that a row names."""

    center: float = Field(default=0.0, ge=0, le=100)
    """Weight of the squared sum of a pair's scores, which keeps scores around 0; 0.01 is usual."""


class ValidationConfig(Section):
    """Rows held out of training, measured on the way; all else here needs a ``fraction`` above 0."""

    fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of the rows that is held out, chosen by the seed; rows of one subject stay together. 0 for none."""

    every_steps: int | None = Field(default=None, ge=1)
    """Steps between two measurements; without it, at each epoch's end. Before the first step and after the last there
    is one in any case."""

    patience: int | None = Field(default=None, ge=1)
    """Measurements in a row without improvement after which training ends; without it, never."""

    min_delta: float = Field(default=0.0, ge=0)
    """By how much the loss must fall to count as an improvement for ``patience``."""

    keep: Literal["best", "last"] = "best"
    """Which weights the run leaves: those of the lowest validation loss after a step, or those of the last step."""

    samples: int = Field(default=0, ge=0, le=1000)
    """Prompts of held-out rows that are answered at each measurement; the answers stay in the run's folder."""

    sample_tokens: int = Field(default=64, ge=1)
    """Most tokens of such an answer."""

    @model_validator(mode="after")
    def _needs_rows(self) -> Self:
        asked = [name for name, value in (("patience", self.patience), ("samples", self.samples)) if value]
        if asked and not self.fraction:
            raise ValueError(f"{' and '.join(asked)} need held-out rows: set fraction, such as 0.05")
        return self


class TrackingConfig(Section):
    """Who is told of a run's figures and settings, never of its rows. TensorBoard's files are always written."""

    mlflow_uri: str | None = None
    """Address of an MLflow server; without it ``MLFLOW_TRACKING_URI``, and without that nobody is asked. Keys belong
    into MLflow's own environment variables."""

    mlflow_experiment: str = Field(default="tuneward", min_length=1)
    """Name of the MLflow experiment that the run belongs to; made when it is not there."""

    @model_validator(mode="after")
    def _holds_no_key(self) -> Self:  # on the whole section, so that no message repeats the address
        if self.mlflow_uri is not None and "@" in urlsplit(self.mlflow_uri).netloc:
            names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            raise ValueError(f"mlflow_uri holds a name or key and would be kept with the run: put them into {names}")
        return self


class TrainingConfig(Section):
    """One run: what is trained, on how much at a time, and how fast it learns."""

    method: Literal["pretrain", "sft", "dpo", "reward"] = "sft"
    """What is learned: ``pretrain``, every token of documents; ``sft``, the answers of conversations; ``dpo``, to give
    the better of two answers; ``reward``, to tell which of two answers is better."""

    start: str | None = Field(default=None, min_length=1)
    """What training begins with, such as the adapter of a ``sft`` run for ``dpo``: a run (``run_…``), the digest of an
    adapter in the site, or a PEFT folder beside ``tuneward.yaml``. Kind and sizes must be those of ``adapter``; with
    kind ``full`` it is a run that trained every weight. Left out: the base, with an update that is zero."""

    preference: PreferenceConfig = PreferenceConfig()
    """How the model learns from preferences; read by the method ``dpo``."""

    reward: RewardConfig = RewardConfig()
    """How a score for answers is learned; read by the method ``reward``."""

    adapter: AdapterConfig = AdapterConfig()
    """What is trained on top of the frozen base."""

    epochs: float = Field(default=1.0, gt=0, le=1000)
    """How often each row is seen; fractions are allowed and round up to whole rows."""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Highest learning rate of the schedule."""

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after warm-up: half a cosine down to a tenth, a line down to zero, or constant."""

    warmup_fraction: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps in which the learning rate rises in a line."""

    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of one optimizer step, prompt included; a step holds at least one whole row."""

    batch_rows: int | None = Field(default=None, ge=1)
    """Rows of one optimizer step, for who counts so; when given, ``batch_tokens`` does not count."""

    window_tokens: int = Field(default=1024, ge=1)
    """Tokens that pass through the model at once; never more than ``batch_tokens`` where that counts. More needs more
    memory, the result is the same but for what dropout and NEFTune draw. An interrupted run goes on with another number
    (``tuneward train --resume``), and says so."""

    loss_on: Literal["answers", "all"] = "answers"
    """Which tokens of a conversation are learned (method ``sft``): those of the assistant's answers, or all."""

    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = "adamw"
    """AdamW in fp32, with moments in 8 bits, or with moments that leave a full GPU (``paged``). All but the first need
    the extra ``bitsandbytes``; paged ones need CUDA."""

    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of AdamW's two moments per step."""

    eps: float = Field(default=1e-8, ge=1e-30, le=1)
    """Addend to the root of AdamW's second moment; what fp32 rounds to zero would make weights that are no numbers."""

    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay of AdamW, on matrices only: not on vectors (norms, biases) and not on embeddings."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient (Euclidean norm over all trained parameters); longer ones are shortened to it."""

    neftune_alpha: float = Field(default=0.0, ge=0, le=100)
    """Strength of uniform noise on the embeddings of what is trained on (NEFTune, arXiv 2310.05914); 0 for none."""

    recompute: bool | int = False
    """Gradient checkpointing: layers whose insides are computed again in the backward pass, which takes a third more
    time and much less memory. ``false`` for none, ``true`` for all, a number n for every n-th."""

    validation: ValidationConfig = ValidationConfig()
    """Rows held out of training, measured on the way."""

    tracking: TrackingConfig = TrackingConfig()
    """Who is told of figures and settings."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seeds the order of rows, which are held out, the adapter's start, dropout and noise."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of frozen weights and activations; ``auto`` takes bf16 where the machine multiplies it natively."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the run computes; ``auto`` takes a CUDA device where there is one, ``cuda`` is refused without one."""

    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Processes that train together, each on a device of its own; ``auto`` takes all CUDA devices, and one process
    where there is none. The same number ends in the same bits."""

    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Seconds between checkpoints; a run that is stopped or killed goes on from the last."""

    head_memory_mib: int = Field(default=64, ge=1)
    """Memory for a chunk of logits, in MiB; logits never exist whole."""

    @field_validator("recompute")
    @classmethod
    def _counts(cls, value: bool | int) -> bool | int:
        if value is not True and value is not False and value < 1:
            raise ValueError("write false, true, or n of at least 1 for every n-th layer")
        return value

    @property
    def room(self) -> int:
        """Tokens of the largest window."""
        return self.window_tokens if self.batch_rows is not None else min(self.window_tokens, self.batch_tokens)
