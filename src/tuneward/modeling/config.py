"""Settings of the adapter: what is trained on top of a frozen base.

Place on the road: read with ``tuneward.yaml``, frozen into a Run, used by ``lora`` and written by ``adapter_files``.
Loads no torch and knows no model; whether the targets exist in a model is ``lora``'s to say.
"""

from typing import Literal

from pydantic import Field, field_validator

from tuneward.configuration import Section

ALL_LINEAR: Literal["all-linear"] = "all-linear"


class AdapterConfig(Section):
    """A low-rank adapter (LoRA, arXiv 2106.09685)."""

    kind: Literal["full", "lora"] = "lora"
    """What is trained: ``lora``, a low-rank update; ``full``, every weight of the base."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the update of each target; trained parameters grow in proportion."""

    alpha: float = Field(default=32.0, gt=0, le=4096)
    """Numerator of the scaling ``alpha / rank`` of the update."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability with which an element of a target's input is dropped on the adapter's path while training."""

    targets: Literal["all-linear"] | tuple[str, ...] = ALL_LINEAR
    """Linear layers that receive an update: ``all-linear`` (all but the output head), or names such as ``q_proj``."""

    @field_validator("targets")
    @classmethod
    def _named(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value or any(not name.strip() for name in value):
            raise ValueError("name at least one layer, or write all-linear")
        return value

    @property
    def scale(self) -> float:
        """``alpha / rank``, the factor of the update."""
        return self.alpha / self.rank
