"""The start of a run: the base is proved, and what is trained is put into it.

Place on the road: after the base is loaded, before its steps are planned. Knows neither rows nor loss.
"""

from pathlib import Path

from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.base_model import Precision, prove
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import Update, add_lora, set_weights
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Workers
from tuneward.training.sharding import ShardedTrainable, States, place_small, shard_frozen, shard_trained
from tuneward.training.trainable import FullTrainable, LoraTrainable, Trainable


def make_trainable(model: PreTrainedModel, config: TrainingConfig, *, start: Path | None) -> Trainable:
    """Prove the base, and put in what is trained.

    Args:
        model: the base.
        config: the training section.
        start: PEFT folder of the adapter that training begins with, or None for a new one; a whole model that training
            begins with is loaded in the base's place.

    Raises:
        ModelError: the base is computed wrongly, or the adapter fits neither it nor the settings.
        TrainingError: the adapter is a reward model's, whose score would be lost.
    """
    if config.adapter.kind == "full":
        prove(model)
        return FullTrainable(model)
    fuse(model)
    prove(model)
    return LoraTrainable(_add_adapter(model, config, start), config.adapter)


def _add_adapter(model: PreTrainedModel, config: TrainingConfig, start: Path | None) -> dict[str, Update]:
    layers = add_lora(model, config.adapter, seed=config.seed)
    if start is not None:
        weights = load_adapter(start)
        if weights.score is not None:
            told, cure = "the adapter scores answers and writes none", "begin with one of another method than reward"
            raise TrainingError(Fault("TW-TRAIN-031", told, "training.start", cure))
        set_weights(layers, weights)
    return layers


def share_trainable(
    model: PreTrainedModel, config: TrainingConfig, workers: Workers, *, start: Path | None, precision: Precision
) -> tuple[Trainable, States]:
    """The same for a model that the group holds in parts; the base is proved as it will be used."""
    if config.adapter.kind == "full":
        root = shard_trained(model, workers, precision)
        root(prove)
        return ShardedTrainable(root, workers, precision), root.states
    place_small(model, workers.device)
    fuse(model)
    layers = _add_adapter(model, config, start)
    root = shard_frozen(model, workers)
    root(prove)
    return LoraTrainable(layers, config.adapter), root.states
