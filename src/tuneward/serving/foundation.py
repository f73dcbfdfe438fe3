"""Foundation: what an engine holds in memory before any adapter is loaded.

Place on the road: between a registered model and the engine that can serve it; ``evaluate``, ``deploy`` and the gateway
all ask here, so that a model is served on what it was evaluated on. Two adapters share an engine exactly when their
foundations are equal. Knows no process and no file.
"""

from dataclasses import dataclass
from typing import Final

from tuneward.domain.run import Adapter
from tuneward.modeling.config import Quantisation

_TOLD: Final[dict[Quantisation, str]] = {
    "none": "",
    "nf4": " in four bits (NF4)",
    "nf4-all": " in four bits (NF4), embedding and head too",
}


@dataclass(frozen=True)
class Foundation:
    """A model in an engine, without adapters.

    Attributes:
        model: digest of the model's artefact tree: a base's, or that of a run that trained every weight.
        quantisation: what of it is kept in four bits.
    """

    model: str
    quantisation: Quantisation = "none"

    @classmethod
    def of(cls, adapter: Adapter) -> "Foundation":
        """What serves ``adapter``: its base as it was while it trained, or, where every weight was trained, itself."""
        if adapter.kind == "full":
            return cls(adapter.id)
        return cls(adapter.base, adapter.quantisation)

    def __str__(self) -> str:
        return f"{self.model[:12]}{_TOLD[self.quantisation]}"

    @property
    def file_name(self) -> str:
        """A short name for files of an engine that holds it."""
        return self.model[:12] + ("" if self.quantisation == "none" else f"-{self.quantisation}")


def loads_adapter(adapter: Adapter) -> bool:
    """Whether an engine serves ``adapter`` beside its foundation, or the foundation is all there is."""
    return adapter.kind != "full"
