"""Gradient checkpointing: layers whose insides are computed again in the backward pass instead of being kept.

Place on the road: put into a model before training. A recomputed layer keeps its input and nothing else (arXiv
1604.06174); dropout draws the same numbers again. Replaced is the instance's forward method: no class and no library is
changed. Where no gradient is made, nothing differs. Knows no adapter and no loss.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from tuneward.errors import Fault, ModelError
from tuneward.modeling.layers import decoder_layers


def interval_of(setting: bool | int) -> int:
    """``training.recompute`` as a number: 0 for no layer, 1 for each, n for every n-th."""
    return int(setting)


def recomputed_layers(layers: int, setting: bool | int) -> int:
    """How many of ``layers`` are computed again."""
    every = interval_of(setting)
    return len(range(0, layers, every)) if every else 0


def recompute(model: PreTrainedModel, setting: bool | int) -> int:
    """Let every n-th layer of the decoder, the first included, be computed again in the backward pass.

    Args:
        model: with its adapter, if it has one.
        setting: see :func:`interval_of`.

    Returns:
        The number of such layers.

    Raises:
        ModelError: the architecture holds its layers in no list.
    """
    every = interval_of(setting)
    if not every:
        return 0
    layers = decoder_layers(model)
    if not layers:
        told, cure = f"{type(model).__name__} holds its layers in no list", "set it to false, or choose another base"
        raise ModelError(Fault("TW-TRAIN-044", told, "training.recompute", cure))
    chosen = layers[::every]
    for layer in chosen:
        module = cast(Any, layer)
        module.forward = partial(_again, module.forward)
    return len(chosen)


def _again(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=True, **named)
