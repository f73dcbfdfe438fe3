"""Scoring models: a language model whose head is replaced by a score, as plain transformers loads it.

Place on the road: what a full reward training leaves. The form is that of a sequence classifier with one label, whose
score is a bias-free product with the hidden state of the last token that is no padding. Knows no training.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tuneward.errors import Fault, ModelError
from tuneward.modeling.adapter_files import SCORE


def scoring_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The sequence classifier of ``model``'s architecture.

    Raises:
        ModelError: transformers has none, or one with another head.
    """
    name = type(model).__name__
    head: Any = None
    try:
        found = cast(Any, AutoModelForSequenceClassification)._model_mapping[type(model.config)]
        with torch.device("meta"):
            head = getattr(found(_one_label(model)), SCORE, None)
    except (KeyError, ValueError):
        pass
    if not isinstance(head, nn.Linear) or getattr(head, "bias", None) is not None:
        told = f"transformers has no sequence classifier with a plain score for {name}"
        raise ModelError(Fault("TW-BASE-045", told, name, "choose another base for the reward model"))
    return cast(type[PreTrainedModel], found)


def scoring_model(model: PreTrainedModel, score: Tensor, state: Mapping[str, Tensor] | None = None) -> PreTrainedModel:
    """A sequence classifier that shares ``model``'s weights.

    Args:
        model: its output head is left out.
        score: (1, hidden).
        state: ``model``'s weights by name, where it does not hold them itself.

    Raises:
        ModelError: see :func:`scoring_class`.
    """
    made = scoring_class(model)
    with torch.device("meta"):
        scoring = made(_one_label(model))
    backbone = f"{model.base_model_prefix}."
    weights = model.state_dict() if state is None else state
    kept = {key: value for key, value in weights.items() if key.startswith(backbone)}
    scoring.load_state_dict({**kept, f"{SCORE}.weight": score.detach()}, assign=True)
    return scoring


def _one_label(model: PreTrainedModel) -> Any:
    config: Any = copy.deepcopy(model.config)
    config.num_labels = 1
    config.tie_word_embeddings = False
    return config
