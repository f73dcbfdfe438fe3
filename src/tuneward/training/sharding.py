"""Sharding: a model whose weights lie in parts over a group of processes (FSDP2, ``torch.distributed.fsdp``).

Place on the road: after the model is loaded and has its adapter, before it is proved. A decoder layer is made whole
just before it is used, and let go after. A frozen base is sharded in its own type; LoRA's factors are small, stay whole
in fp32 in every process, and their gradients are added up once a step. Of a full fine-tuning each process keeps fp32
masters of its shards alone; layers are made whole in the type that the run computes in, and gradients are reduced in
fp32. A four-bit base stays whole in every process. Knows neither rows nor loss.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from tuneward.modeling.base_model import DTYPES, Precision, hidden_states
from tuneward.modeling.layers import decoder_layers
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.scoring import scoring_model
from tuneward.training.distributed import Workers
from tuneward.training.trainable import save_whole

#: (1, tokens) ids and their layout → (1, tokens, hidden).
States = Callable[[Tensor, PackedDocuments], Tensor]


def states_of(model: PreTrainedModel) -> States:
    """How a model that lies whole in this process is passed."""
    return partial(hidden_states, model)


class Sharded(nn.Module):
    """The root of a sharded model: what lies outside the decoder layers is whole while ``forward`` runs.

    It stays whole until the backward pass is over, so that the loss may use the output head after ``forward``.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """``work(model, *arguments)``."""
        return work(self.model, *arguments)

    def states(self, ids: Tensor, layout: PackedDocuments) -> Tensor:
        """See :data:`States`."""
        return cast(Tensor, self(hidden_states, ids, layout))


class Asked:
    """A sharded model as the decoder calls it; every process must ask the same."""

    def __init__(self, root: Sharded) -> None:
        self._root = root

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._root.model.device

    @property
    def config(self) -> Any:
        """The model's."""
        return self._root.model.config

    def __call__(self, **inputs: Any) -> Any:
        """What the model answers."""
        return self._root(_answer, inputs)


def _answer(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Any:
    return model(**inputs)


def place_small(model: nn.Module, device: str) -> None:
    """Bring norms and biases, which stay whole beside a frozen base, to where the run computes."""
    for parameter in _small(model):
        parameter.data = parameter.data.to(device)


def shard_frozen(model: PreTrainedModel, workers: Workers) -> Sharded:
    """Shard the frozen matrices of a model; what is trained, and every vector, stays whole."""
    kept = {p for p in model.parameters() if p.requires_grad} | set(_small(model))
    for parameter in kept:
        parameter.data = parameter.data.to(workers.device)
    return _shard(model, workers, MixedPrecisionPolicy(cast_forward_inputs=False), kept)


def shard_trained(model: PreTrainedModel, workers: Workers, precision: Precision) -> Sharded:
    """Shard every weight of a model as an fp32 master, from which layers are made whole in ``precision``."""
    model.requires_grad_(True)
    compute = None if precision == "fp32" else DTYPES[precision]
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32, cast_forward_inputs=False)
    root = _shard(model, workers, policy, set())
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # sums: each window's loss is already divided by the step's weight
            module.set_force_sum_reduction_for_comms(True)
    root_module = cast(FSDPModule, root)
    if hasattr(root_module, "set_reduce_scatter_unused_params"):  # experts that one process's tokens never chose
        root_module.set_reduce_scatter_unused_params(True)
    return root


def _shard(model: PreTrainedModel, workers: Workers, policy: MixedPrecisionPolicy, kept: set[nn.Parameter]) -> Sharded:
    shard = partial(fully_shard, mesh=workers.mesh, mp_policy=policy, ignored_params=kept)
    for layer in decoder_layers(model):  # one at a time: only one is whole on the device
        _to_master(layer)
        shard(layer)
    _to_master(model)
    root = Sharded(model)
    shard(root, reshard_after_forward=False)
    return root


def _to_master(module: nn.Module) -> None:
    """What is trained is kept in fp32; what is sharded already is left as it is."""
    for parameter in module.parameters():
        if parameter.requires_grad and not isinstance(parameter, DTensor):
            parameter.data = parameter.data.float()


def _small(model: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.ndim < 2)


class ShardedTrainable:
    """Every weight of a sharded model; see :class:`tuneward.training.trainable.Trainable`.

    Args:
        root: as :func:`shard_trained` made it.
        workers: the group.
        precision: type that the finished model is written in.
    """

    def __init__(self, root: Sharded, workers: Workers, precision: Precision) -> None:
        self._root, self._workers, self._dtype = root, workers, DTYPES[precision]
        cast(FSDPModule, root).reshard()  # the proof has left it whole
        self._seen = {name: cast(DTensor, p) for name, p in root.model.named_parameters()}  # tied ones once
        # the same memory as the shards, as plain tensors: any optimizer that works by element can move them
        self.parameters: Mapping[str, nn.Parameter] = {
            name: nn.Parameter(p.to_local().detach()) for name, p in self._seen.items()
        }
        self.shards = self.parameters

    def begin(self) -> None:
        """Evaluation mode stays: today's causal models are tuned without their own dropout."""

    def pause(self) -> None:
        """See :class:`tuneward.training.trainable.Trainable`."""

    def collect(self) -> None:
        """Hand the reduced gradients of the shards to the masters."""
        for name, parameter in self._seen.items():
            gradient = cast(DTensor | None, parameter.grad)
            self.parameters[name].grad = None if gradient is None else gradient.to_local()
            parameter.grad = None

    def publish(self) -> None:
        """The masters are the shards; from the next pass on layers are made of them."""

    def whole(self, name: str, value: Tensor) -> Tensor:
        """All shards of a value that lies as the master does; every process must ask."""
        seen = self._seen[name]
        if value.shape != self.parameters[name].shape:
            return value
        shape, stride = seen.shape, seen.stride()
        part = DTensor.from_local(
            value.detach(), seen.device_mesh, seen.placements, run_check=False, shape=shape, stride=stride
        )
        return part.full_tensor()

    def part(self, name: str, value: Tensor) -> Tensor:
        """This process's shard of a whole value."""
        if value.shape != self._seen[name].shape:
            return value
        parts = value.chunk(self._workers.size)
        return parts[self._workers.rank] if self._workers.rank < len(parts) else value[:0]

    def save(self, folder: Path, *, base_name: str, score: Tensor | None = None) -> None:
        """Write config and safetensors as plain transformers reads them, from rank 0; every process must ask."""
        cast(FSDPModule, self._root).reshard()
        model: Any = self._root.model
        made: dict[int, Tensor] = {}
        for name, parameter in self._seen.items():
            tensor = self.whole(name, self.parameters[name]).to(self._dtype)
            if self._workers.rank == 0:
                made[id(parameter)] = tensor.cpu()
        if self._workers.rank == 0:
            state = {key: made.get(id(value), value) for key, value in model.state_dict(keep_vars=True).items()}
            if score is None:
                save_whole(model, folder, state=state)
            else:
                model = scoring_model(model, score.cpu(), state)
                save_whole(model, folder)
            model.config.dtype = self._dtype  # transformers looked at the masters
            model.config.save_pretrained(folder)
        self._workers.wait()
