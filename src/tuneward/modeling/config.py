"""Settings of the adapter: what is trained on top of a frozen base.

Place on the road: read with ``tuneward.yaml``, frozen into a Run, used by ``lora`` and written by ``adapter_files``.
Loads no torch and knows no model; whether the targets exist in a model is ``lora``'s to say.
"""

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section

#: The files of an adapter's folder, in PEFT's format.
ADAPTER_FILES = ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

#: How a frozen base is kept: in its own type; linear layers in NF4; embedding and output head in NF4 as well.
Quantisation = Literal["none", "nf4", "nf4-all"]

ALL_LINEAR: Literal["all-linear"] = "all-linear"


class AdapterConfig(Section):
    """What is trained: a low-rank update beside the linear layers (LoRA, arXiv 2106.09685), or every weight."""

    kind: Literal["full", "lora", "qlora"] = "lora"
    """What is trained: ``lora``, a low-rank update beside a frozen base; ``qlora``, the same beside a base whose linear
    layers are kept in 4 bits (NF4 with double quantisation; needs the extra ``qlora``); ``full``, every weight."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the update of each target; trained parameters grow in proportion."""

    alpha: float = Field(default=32.0, gt=0, le=4096)
    """Numerator of the scaling ``alpha / rank`` of the update."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability with which an element of a target's input is dropped on the adapter's path while training. The
    experts of a mixture have none (``TW-BASE-042``)."""

    targets: Literal["all-linear"] | tuple[str, ...] = ALL_LINEAR
    """What receives an update: ``all-linear`` (every linear layer but the output head, and every expert of a mixture),
    or names such as ``q_proj`` or ``experts.down_proj``. Each expert gets an update of the full rank; a mixture's
    router gets none."""

    rslora: bool = False
    """Scale the update by ``alpha / sqrt(rank)`` (rsLoRA), which keeps high ranks learning; lower ``alpha`` with it."""

    dora: bool = False
    """Train the length of each row of a target's weight apart from its direction (DoRA); slower, often better at low
    ranks. With ``dropout`` the frozen product is made twice, as in the paper's code. The experts of a mixture have none
    (``TW-BASE-042``)."""

    quantise_embeddings: bool = False
    """With ``qlora``: keep the embedding and the output head in 4 bits too, where a row of them is whole blocks of 64
    weights. A small model's memory falls by a third again; its answers suffer more than from the layers' 4 bits
    alone, mostly before training."""

    @field_validator("targets")
    @classmethod
    def _named(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value or any(not name.strip() for name in value):
            raise ValueError("name at least one layer, or write all-linear")
        return value

    @model_validator(mode="after")
    def _no_update_of_everything(self) -> "AdapterConfig":
        if self.kind == "full":
            fields = type(self).model_fields
            idle = [name for name, field in fields.items() if name != "kind" and getattr(self, name) != field.default]
            if idle:
                raise ValueError(f"with kind: full every weight is trained; leave out {', '.join(idle)}")
        if self.quantise_embeddings and self.kind != "qlora":
            raise ValueError(f"quantise_embeddings needs kind: qlora, and kind is {self.kind}")
        return self

    @property
    def quantisation(self) -> Quantisation:
        """How the base is kept while the adapter trains; see :data:`Quantisation`."""
        if self.kind != "qlora":
            return "none"
        return "nf4-all" if self.quantise_embeddings else "nf4"

    @property
    def scale(self) -> float:
        """The factor of the update; see :func:`update_scale`."""
        return update_scale(self.rank, self.alpha, rslora=self.rslora)

    @property
    def label(self) -> str:
        """The kind in one word for papers: ``lora``, ``qlora+rslora``, ``lora+dora``, ``full``."""
        return "+".join([self.kind, *(name for name in ("rslora", "dora") if getattr(self, name))])


def update_scale(rank: int, alpha: float, *, rslora: bool) -> float:
    """``alpha / rank``, or ``alpha / sqrt(rank)`` with rsLoRA (arXiv 2312.03732, definition 3.2)."""
    return alpha / (math.sqrt(rank) if rslora else rank)
