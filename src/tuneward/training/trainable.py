"""Trainable: what an optimizer moves, as fp32 masters, and how the model comes to see them.

Place on the road: between the model and the loop, so that the loop knows one kind of parameter. LoRA's factors are kept
in fp32 and used as they are. Of a full fine-tuning in bf16 the model holds rounded copies, whose gradients go into fp32
as soon as they are made: sums over many windows lose nothing, and a small update is not rounded away. Knows no data.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.adapter_files import save_adapter
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import Update, weights_of
from tuneward.modeling.scoring import scoring_model


class Trainable(Protocol):
    """The trained part of a model."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Name → fp32 master; the optimizer's only view."""

    def begin(self) -> None:
        """Training starts: dropout on, hooks in place."""

    def pause(self) -> None:
        """The model is asked, not trained, until the next ``begin``: dropout off."""

    @property
    def shards(self) -> Mapping[str, nn.Parameter]:
        """Those of ``parameters`` of which this process holds a part; others are whole in every process."""

    def collect(self) -> None:
        """A step's backward passes are done: let the masters have the gradients."""

    def publish(self) -> None:
        """The masters have moved: let the model see it."""

    def whole(self, name: str, value: Tensor) -> Tensor:
        """A master's value, or one that lies as the master does, put together from all processes' parts."""

    def part(self, name: str, value: Tensor) -> Tensor:
        """What this process holds of such a whole value."""

    def save(self, folder: Path, *, base_name: str, score: Tensor | None = None) -> None:
        """Write what was trained: a PEFT folder, or a whole model's.

        Args:
            folder: created if missing.
            base_name: how an adapter names its base.
            score: (1, hidden): makes a sequence classifier with one label of it, which is what a reward model is.
        """


class _HeldWhole:
    """What is simple where each process holds every master whole; see :class:`Trainable`."""

    @property
    def shards(self) -> Mapping[str, nn.Parameter]:
        """None."""
        return {}

    def collect(self) -> None:
        """Gradients are where they belong."""

    def whole(self, name: str, value: Tensor) -> Tensor:
        """Unchanged."""
        return value

    def part(self, name: str, value: Tensor) -> Tensor:
        """Unchanged."""
        return value


class LoraTrainable(_HeldWhole):
    """The factors of an adapter; see :class:`Trainable`.

    Args:
        layers: path → layer or update of experts, as ``add_lora`` returns them.
        config: what they were made from.
    """

    def __init__(self, layers: Mapping[str, Update], config: AdapterConfig) -> None:
        self.layers, self.config = dict(layers), config
        self.parameters: dict[str, nn.Parameter] = {
            f"{path}.{name}": parameter
            for path, layer in layers.items()
            for name, parameter in layer.named_parameters(recurse=False)
        }

    def begin(self) -> None:
        """The frozen base stays in evaluation mode: its own dropout is not wanted."""
        for layer in self.layers.values():
            layer.train()

    def pause(self) -> None:
        """See :class:`Trainable`."""
        for layer in self.layers.values():
            layer.eval()

    def publish(self) -> None:
        """The factors are the masters."""

    def save(self, folder: Path, *, base_name: str, score: Tensor | None = None) -> None:
        """Write a PEFT folder."""
        weights = replace(weights_of(self.layers, self.config), score=score)
        save_adapter(weights, folder, base_name=base_name)


class FullTrainable(_HeldWhole):
    """Every weight of a model; see :class:`Trainable`.

    Args:
        model: all its parameters are trained, tied ones once.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        model.requires_grad_(True)
        self._model = model
        self._seen = dict(model.named_parameters())  # tied parameters stand here once
        self.parameters: dict[str, nn.Parameter] = {}
        for name, parameter in self._seen.items():
            if parameter.dtype == torch.float32:
                self.parameters[name] = parameter
            else:
                self.parameters[name] = nn.Parameter(parameter.detach().float())
                parameter.register_post_accumulate_grad_hook(self._collector(self.parameters[name]))

    @staticmethod
    def _collector(master: nn.Parameter):  # type: ignore[no-untyped-def]  # torch's own type for hooks is private
        def collect(parameter: Tensor) -> None:
            assert parameter.grad is not None, "called after a gradient was made"
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad += parameter.grad
            parameter.grad = None

        return collect

    def begin(self) -> None:
        """Evaluation mode stays: today's causal models are tuned without their own dropout."""

    def pause(self) -> None:
        """See :class:`Trainable`."""

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model."""
        for name, parameter in self._seen.items():
            if self.parameters[name] is not parameter:
                parameter.copy_(self.parameters[name])

    def save(self, folder: Path, *, base_name: str, score: Tensor | None = None) -> None:
        """Write config and safetensors as plain transformers reads them; tied weights stay tied."""
        model = self._model if score is None else scoring_model(self._model, score)
        save_whole(model, folder)


def save_whole(model: PreTrainedModel, folder: Path, *, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a model as plain transformers reads it; ``state`` in the place of its own values.

    Raises:
        TrainingError: there is no room for it; the checkpoints stand, and the same command goes on from the last.
    """
    try:
        model.save_pretrained(folder, state_dict=None if state is None else dict(state), safe_serialization=True)
    except SafetensorError as error:  # how the library tells of a full disk
        cure = "make room, then run the same command again: it goes on from the newest checkpoint"
        raise TrainingError(
            Fault("TW-TRAIN-009", f"the model could not be saved: {error}", str(folder), cure)
        ) from error
