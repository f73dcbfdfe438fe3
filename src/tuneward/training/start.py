"""The start of a run that begins with an adapter.

Place on the road: after ``add_lora``, before the reference is computed and before the first step. Knows no site.
"""

from collections.abc import Mapping
from pathlib import Path

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.lora import LoraLinear, set_weights


def begin_at(layers: Mapping[str, LoraLinear], folder: Path) -> None:
    """Give ``layers`` the values of the adapter in ``folder``.

    Args:
        layers: new ones, as ``add_lora`` returns them.
        folder: a PEFT folder.

    Raises:
        ModelError: it cannot be read, or its targets, rank, scale or kind are not those of the settings.
        TrainingError: it is a reward model's, whose score would be lost.
    """
    weights = load_adapter(folder)
    if weights.score is not None:
        told, cure = "the adapter scores answers and writes none", "begin with one of the method pretrain, sft or dpo"
        raise TrainingError(Fault("TW-TRAIN-031", told, "training.start", cure))
    set_weights(layers, weights)
