"""Foundation: what an engine holds in memory before any adapter is loaded.

Place on the road: between a registered model and the engine that can serve it; ``evaluate``, ``deploy`` and the gateway
all ask here, so that a model is served on what it was evaluated on. Two adapters share an engine exactly when their
foundations are equal. Knows no process and no file.
"""

from dataclasses import dataclass
from typing import Literal

from tuneward.domain.run import Adapter

Quantisation = Literal["none", "nf4"]


@dataclass(frozen=True)
class Foundation:
    """A model in an engine, without adapters.

    Attributes:
        model: digest of the model's artefact tree: a base's, or that of a run that trained every weight.
        quantisation: ``nf4`` where its linear layers are kept in four bits, else ``none``.
    """

    model: str
    quantisation: Quantisation = "none"

    @classmethod
    def of(cls, adapter: Adapter) -> "Foundation":
        """What serves ``adapter``: its base as it was while it trained, or, where every weight was trained, itself."""
        if adapter.kind == "full":
            return cls(adapter.id)
        return cls(adapter.base, "nf4" if adapter.kind == "qlora" else "none")

    def __str__(self) -> str:
        return f"{self.model[:12]}{' in four bits (NF4)' if self.quantisation == 'nf4' else ''}"

    @property
    def file_name(self) -> str:
        """A short name for files of an engine that holds it."""
        return self.model[:12] + ("-nf4" if self.quantisation == "nf4" else "")


def loads_adapter(adapter: Adapter) -> bool:
    """Whether an engine serves ``adapter`` beside its foundation, or the foundation is all there is."""
    return adapter.kind != "full"
