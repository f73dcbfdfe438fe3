"""The start of a run: the base is proved, and what is trained is put into it.

Place on the road: after the base is loaded, before its steps are planned. Knows neither rows nor loss.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.base_model import Precision, prove
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import Update, add_lora, set_weights
from tuneward.modeling.quantised_ends import why_whole
from tuneward.training.batches import Step
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Workers
from tuneward.training.sharding import Sharded, ShardedTrainable, place_small, shard_frozen, shard_trained
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
) -> tuple[Trainable, Sharded]:
    """The same for a model that the group holds in parts; the base is proved as it will be used."""
    if config.adapter.kind == "full":
        root = shard_trained(model, workers, precision)
        root(prove)
        return ShardedTrainable(root, workers, precision), root
    place_small(model, workers.device)
    fuse(model)
    layers = _add_adapter(model, config, start)
    root = shard_frozen(model, workers)
    root(prove)
    return LoraTrainable(layers, config.adapter), root


def remarks(model: PreTrainedModel, config: TrainingConfig, steps: Sequence[Step], *, processes: int) -> Iterator[str]:
    """What is not as it was asked for, or slower than it could be, though the run can be made."""
    if (short := sum(sum(map(len, step.windows)) < processes for step in steps)) > 0:
        yield f"{short} of {len(steps)} steps have fewer rows than {processes} processes: some wait meanwhile"
    if config.adapter.quantise_embeddings and (told := why_whole(model)):
        yield f"not kept in four bits: {told}"
