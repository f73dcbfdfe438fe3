"""Settings of a training run (``training:`` in ``tuneward.yaml``).

Place on the road: validated with the project, frozen into the Run as canonical JSON with its digest. Loads no torch.
"""

from typing import Annotated, Literal

from pydantic import Field

from tuneward.configuration import Section
from tuneward.modeling.config import AdapterConfig


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


class RewardConfig(Section):
    """How a score for answers is learned from pairs (method ``reward``)."""

    margin: bool = True
    """Whether the score of the chosen answer must exceed the other's by the margin that a row names."""

    center: float = Field(default=0.0, ge=0, le=100)
    """Weight of the squared sum of a pair's scores, which keeps scores around 0; 0.01 is usual."""


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

    schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate after warm-up: half a cosine down to a tenth, or constant."""

    warmup_fraction: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps in which the learning rate rises in a line."""

    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of one optimizer step, prompt included; a step holds at least one whole row."""

    batch_rows: int | None = Field(default=None, ge=1)
    """Rows of one optimizer step, for who counts so; when given, ``batch_tokens`` does not count."""

    window_tokens: int = Field(default=1024, ge=1)
    """Tokens that pass through the model at once; never more than ``batch_tokens``. More needs more memory, the
    result is the same."""

    loss_on: Literal["answers", "all"] = "answers"
    """Which tokens of a conversation are learned (method ``sft``): those of the assistant's answers, or all."""

    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled weight decay of AdamW, on matrices only."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Longest gradient (Euclidean norm over all trained parameters); longer ones are shortened to it."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seeds the order of rows, the adapter's start and dropout."""

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
