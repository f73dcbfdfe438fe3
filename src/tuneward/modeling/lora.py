"""LoRA: a trained update of low rank beside each frozen linear layer, and beside each expert of a mixture.

Place on the road: between a frozen base and the training loop. ``y = W x + s B A x`` (arXiv 2106.09685, section 4.1),
with ``s = alpha / rank`` or, with rsLoRA, ``alpha / sqrt(rank)``; with DoRA each row of ``W + s B A`` is brought to a
trained length. What is trained is kept in fp32; ``low_rank`` and ``experts`` hold the arithmetic. Which layers are
meant is ``targets``' to say. Knows no file format (``adapter_files``) and no optimizer.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuneward.errors import Fault, ModelError
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.experts import (
    Groups,
    Stack,
    experts_product,
    find_stacks,
    merged_stack,
    stacks_of,
    through_experts,
)
from tuneward.modeling.low_rank import Frozen, dense, dora_product, lora_product, merged_weight, row_squares
from tuneward.modeling.quantisation import Nf4Linear
from tuneward.modeling.targets import find_experts, find_targets, is_gate, is_linear, require_plain_experts


class LoraLinear(nn.Module):
    """A frozen linear layer with its update.

    Attributes:
        base: the frozen layer, quantised or not.
        a: (rank, in) fp32, trained; uniform at the start as a linear layer's weight (Kaiming, as in the paper's code).
        b: (out, rank) fp32, trained; zero at the start, so that training begins at the base.
        magnitude: (out,) fp32, trained; the length of each row, at the start that of the base's. None without DoRA.
        scale: the update's factor.
    """

    def __init__(self, base: Frozen, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = config.scale
        self.dropout = config.dropout
        weight = dense(base)
        bound = 1 / math.sqrt(base.in_features)
        start = torch.empty(config.rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(start.to(weight.device))
        self.b = nn.Parameter(torch.zeros(base.out_features, config.rank, device=weight.device))
        self.magnitude: nn.Parameter | None = None
        if config.dora:
            self.register_buffer("squares", row_squares(weight), persistent=False)
            self.magnitude = nn.Parameter(cast(Tensor, self.squares).sqrt())

    @property
    def weight(self) -> Tensor:
        """The frozen weight; some architectures look at a layer's weight for its type."""
        return dense(self.base)

    @property
    def is_idle(self) -> bool:
        """Whether the update adds nothing and learns nothing now: before training, in passes without gradient.

        Asked on a CPU only; a GPU would have to stop for the answer.
        """
        if torch.is_grad_enabled() or self.magnitude is not None or self.b.device.type != "cpu":
            return False
        return not bool(self.b.any())

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out) in the type of ``x``."""
        keep, dropout = None, 0.0
        if self.training and self.dropout:
            keep, dropout = self.draw(x), self.dropout
        base, a, b, scale = self.base, self.a, self.b, self.scale
        if self.is_idle:
            return base(x)
        if self.magnitude is None:
            return lora_product(x, base, a, b, scale=scale, keep=keep, dropout=dropout)
        squares = cast(Tensor, self.squares)
        return dora_product(x, base, a, b, self.magnitude, squares, scale=scale, keep=keep, dropout=dropout)

    def draw(self, x: Tensor) -> Tensor:
        """An int8 mask (tokens, in) for ``x``: -1 where an element is kept, 0 where it is dropped.

        Sixteen random bits an element, four elements a draw: the probability is met to 1 / 65536, in a third of the
        time that ``bernoulli_`` takes on a CPU.
        """
        count = x.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = words.view(torch.int16)[:count].view(-1, x.shape[-1])
        return (bits >= round(self.dropout * 65536) - 32768).view(torch.int8).neg_()

    def merged(self) -> Tensor:
        """(out, in): the weight that computes what layer and update compute together, in the base's type.

        Raises:
            ModelError: the base is quantised; rounding the sum to four bits again would lose most of the update.
        """
        if isinstance(self.base, Nf4Linear):
            raise ModelError(
                Fault(
                    "TW-BASE-039",
                    "an update cannot be merged into a weight of four bits",
                    "training.adapter.kind",
                    "load the base in bf16 and merge there; `load_adapter` reads the same adapter",
                )
            )
        magnitude = None if self.magnitude is None else self.magnitude.detach()
        return merged_weight(self.base.weight, self.a.detach(), self.b.detach(), scale=self.scale, magnitude=magnitude)


class ExpertUpdate(nn.Module):
    """The update of one projection of a module of experts: as many as there are experts, each of the same rank.

    Attributes:
        base: the frozen projection.
        a: (experts, rank, in) fp32, trained; see :class:`LoraLinear`.
        b: (experts, out, rank) fp32, trained; zero at the start.
        magnitude: None; experts have no DoRA.
        scale: the update's factor.
    """

    magnitude: None = None

    def __init__(self, base: Stack, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base, self.scale = base, config.scale
        bound, device = 1 / math.sqrt(base.in_features), base.weight.device
        size = (base.count, config.rank, base.in_features)
        if base.weight.is_meta:  # there are many, and nothing would be kept of their values
            self.a = nn.Parameter(torch.empty(size, device=device))
        else:
            self.a = nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=generator).to(device))
        self.b = nn.Parameter(torch.zeros(base.count, base.out_features, config.rank, device=device))

    def forward(self, x: Tensor, groups: Groups) -> Tensor:
        """(rows, in), sorted by expert → (rows, out)."""
        return experts_product(x, self.base, groups, self.a, self.b, scale=self.scale)

    def merged(self) -> Tensor:
        """The parameter that computes what projection and updates compute together, in the base's type and form."""
        a, b = self.a.detach(), self.b.detach()
        return merged_stack(self.base.weight, a, b, scale=self.scale, transposed=self.base.transposed)


class LoraExperts(nn.Module):
    """A frozen module of experts with its updates, each under its parameter's name.

    Attributes:
        base: the frozen module.
    """

    def __init__(self, base: nn.Module, updates: Mapping[str, ExpertUpdate]) -> None:
        super().__init__()
        for name, update in updates.items():  # before the base, which has parameters of these names
            self.add_module(name, update)
        self.base = base

    def __getattr__(self, name: str) -> Any:
        """What the module has beside its weights; some architectures look at it."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """(tokens, hidden) → (tokens, hidden); arguments and names are the library's."""
        return through_experts(self.base, hidden_states, top_k_index, top_k_weights, self._product)

    def _product(self, name: str, x: Tensor, groups: Groups, token: Tensor) -> Tensor:
        update = self._modules.get(name)
        if update is None:
            return experts_product(x, stacks_of(self.base)[name], groups)
        return cast(Tensor, update(x, groups))


#: What ``add_lora`` puts beside a target.
Update = LoraLinear | ExpertUpdate


def add_lora(model: nn.Module, config: AdapterConfig, *, seed: int) -> dict[str, Update]:
    """Put an update beside every target of ``model``, in place, and freeze all else.

    Args:
        model: the base, as ``load_base`` returns it.
        config: of kind ``lora`` or ``qlora``; whether the base is quantised is the loader's matter.
        seed: of A's start values; each layer's are drawn in the order of the model's modules, experts after the layers.

    Returns:
        Path → layer or update of experts, in the model's order, experts after the layers. A layer's path is its
        module's, that of an update of experts their parameter's.

    Raises:
        ModelError: a named target matches nothing, experts are asked for what they do not have, or the rank exceeds a
            target's size; all at once.
    """
    linear, experts = dict(find_targets(model, config)), find_experts(model, config)
    require_plain_experts(experts, config)
    sizes: dict[str, Frozen | Stack] = {**linear, **experts}
    too_small = [
        Fault(
            "TW-BASE-034",
            f"rank {config.rank} exceeds the size of {path} ({layer.in_features} to {layer.out_features})",
            "training.adapter.rank",
            f"at most {min(layer.in_features, layer.out_features)}",
        )
        for path, layer in sizes.items()
        if config.rank > min(layer.in_features, layer.out_features)
    ]
    if too_small:
        raise ModelError(too_small)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, Update] = {}
    for path, layer in linear.items():
        made = layers[path] = LoraLinear(layer, config, generator).train(model.training)
        _replace(model, path, made)
    modules: dict[str, dict[str, ExpertUpdate]] = {}
    for path, stack in experts.items():
        update = layers[path] = ExpertUpdate(stack, config, generator).train(model.training)
        modules.setdefault(path.rpartition(".")[0], {})[stack.name] = update
    for path, updates in modules.items():
        _replace(model, path, LoraExperts(model.get_submodule(path), updates).train(model.training))
    return layers


def _replace(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


@dataclass(frozen=True)
class Unreached:
    """Weights that no adapter of ``all-linear`` can change, because they are neither linear layers nor experts.

    Attributes:
        weights: name of each such parameter, its layer's number written as ``*`` → number of weights.
        share: of the weights between embeddings and output head.
    """

    weights: Mapping[str, int]
    share: float

    def __str__(self) -> str:
        names = ", ".join(sorted(self.weights))
        told = f"{self.share:.0%}" if self.share >= 0.005 else "less than 1%"
        return f"{told} of the weights are neither linear layers nor experts and receive no update: {names}"


def unreached(model: nn.Module) -> Unreached | None:
    """What ``all-linear`` does not reach in ``model``; None where it reaches every matrix.

    In transformers 5 the router of a mixture is a parameter of no linear layer, and so are the experts of the few
    architectures that do not follow the library's interface of experts. They stay as they are, and so do gates of one
    output.
    """
    head = cast(Any, model).get_output_embeddings()
    linear = [cast(Frozen, m) for m in model.modules() if is_linear(m) and m is not head]
    linear = [m for m in linear if not is_gate(m)]
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    inside = {id(p) for m in (head, *embeddings, *linear) for p in m.parameters()}
    updates = [m for m in model.modules() if isinstance(m, LoraLinear | ExpertUpdate)]
    inside |= {id(p) for m in updates for p in m.parameters(recurse=False)}
    experts = [stack for _, stack in find_stacks(model)]
    inside |= {id(weight) for stack in experts for weight in (stack.weight, stack.bias) if weight is not None}
    missed: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and id(parameter) not in inside:
            pattern = re.sub(r"\.\d+\.", ".*.", name)
            missed[pattern] = missed.get(pattern, 0) + parameter.numel()
    if not missed:
        return None
    reached = sum(m.in_features * m.out_features for m in linear) + sum(stack.weight.numel() for stack in experts)
    lost = sum(missed.values())
    return Unreached(missed, lost / (lost + reached))


def weights_of(layers: Mapping[str, Update], config: AdapterConfig) -> AdapterWeights:
    """The adapter that ``layers`` hold, to be saved, loaded elsewhere or compared; shares their memory."""
    return AdapterWeights(
        rank=config.rank,
        alpha=config.alpha,
        pairs={path: (layer.a.detach(), layer.b.detach()) for path, layer in layers.items()},
        dropout=config.dropout,
        rslora=config.rslora,
        magnitudes={p: layer.magnitude.detach() for p, layer in layers.items() if layer.magnitude is not None},
    )


@torch.no_grad()
def set_weights(layers: Mapping[str, Update], weights: AdapterWeights) -> None:
    """Give ``layers`` the values of an adapter of the same kind and size.

    Raises:
        ModelError: targets, rank, scale or kind differ; every fault.
    """
    cure = "take training.adapter from the run that made the adapter"
    faults = []
    ranks, scales = {layer.a.shape[-2] for layer in layers.values()}, {layer.scale for layer in layers.values()}
    if ranks != {weights.rank} or scales != {weights.scale}:
        told = f"the adapter has rank {weights.rank} and scale {weights.scale:g}, the settings ask for rank"
        told += f" {', '.join(map(str, sorted(ranks)))} and scale {', '.join(f'{scale:g}' for scale in sorted(scales))}"
        raise ModelError(Fault("TW-BASE-036", told, "training.adapter", cure))
    for path in sorted(layers.keys() ^ weights.pairs.keys()):
        told = "is a target of the adapter or of the settings, not of both"
        bare = isinstance(layers.get(path), ExpertUpdate)  # all-linear has not always reached them
        name = "the adapter leaves experts alone: name its linear layers in training.adapter.targets"
        faults.append(Fault("TW-BASE-036", told, path, name if bare else cure))
    for path in layers.keys() & weights.pairs.keys():
        layer, (a, b) = layers[path], weights.pairs[path]
        if (layer.a.shape, layer.b.shape) != (a.shape, b.shape):
            faults.append(Fault("TW-BASE-036", "the adapter has another size", path, cure))
        elif (layer.magnitude is None) != (path not in weights.magnitudes):
            faults.append(Fault("TW-BASE-036", "one of adapter and settings is DoRA, the other is not", path, cure))
    if faults:
        raise ModelError(faults)
    for path, layer in layers.items():
        layer.a.copy_(weights.pairs[path][0])
        layer.b.copy_(weights.pairs[path][1])
        if layer.magnitude is not None:
            layer.magnitude.copy_(weights.magnitudes[path])
