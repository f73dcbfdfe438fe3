"""LoRA: a trained update of low rank beside each frozen linear layer.

Place on the road: between a frozen base and the training loop. ``y = W x + s B A x`` (arXiv 2106.09685, section 4.1),
with ``s = alpha / rank`` or, with rsLoRA, ``alpha / sqrt(rank)``; with DoRA each row of ``W + s B A`` is brought to a
trained length. What is trained is kept in fp32; ``low_rank`` holds the arithmetic. Knows no file format
(``adapter_files``) and no optimizer.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuneward.errors import Fault, ModelError
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.config import ALL_LINEAR, AdapterConfig
from tuneward.modeling.low_rank import Frozen, dense, dora_product, lora_product, merged_weight, row_squares
from tuneward.modeling.quantisation import Nf4Linear


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


def add_lora(model: nn.Module, config: AdapterConfig, *, seed: int) -> dict[str, LoraLinear]:
    """Put an update beside every target of ``model``, in place, and freeze all else.

    Args:
        model: the base, as ``load_base`` returns it.
        config: of kind ``lora`` or ``qlora``; whether the base is quantised is the loader's matter.
        seed: of A's start values; each layer's are drawn in the order of the model's modules.

    Returns:
        Module path → layer, in the model's order.

    Raises:
        ModelError: a named target matches no linear layer, or the rank exceeds a target's size; all at once.
    """
    targets = dict(find_targets(model, config))
    too_small = [
        Fault(
            "TW-BASE-034",
            f"rank {config.rank} exceeds the size of {path} ({layer.in_features} to {layer.out_features})",
            "training.adapter.rank",
            f"at most {min(layer.in_features, layer.out_features)}",
        )
        for path, layer in targets.items()
        if config.rank > min(layer.in_features, layer.out_features)
    ]
    if too_small:
        raise ModelError(too_small)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for path, layer in targets.items():
        parent, _, name = path.rpartition(".")
        layers[path] = LoraLinear(layer, config, generator).train(model.training)
        setattr(model.get_submodule(parent), name, layers[path])
    return layers


def find_targets(model: nn.Module, config: AdapterConfig) -> Iterator[tuple[str, Frozen]]:
    """Linear layers that ``config.targets`` names, in the model's order; never the output head.

    Raises:
        ModelError: one fault per name that matches nothing, with the nearest names, or that means the output head.
    """
    head = cast(Any, model).get_output_embeddings()
    every = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear | Nf4Linear)}
    heads = {path for path, module in every.items() if module is head}
    linear = {path: module for path, module in every.items() if path not in heads}
    if config.targets != ALL_LINEAR:
        faults = [
            _no_target(name, linear, heads)
            for name in config.targets
            if not any(_matches(path, name) for path in linear)
        ]
        if faults:
            raise ModelError(faults)
        linear = {path: m for path, m in linear.items() if any(_matches(path, name) for name in config.targets)}
    if not linear:
        raise ModelError(
            Fault("TW-BASE-033", "the model has no linear layer", "training.adapter.targets", "choose another base")
        )
    yield from linear.items()


def _no_target(name: str, linear: Mapping[str, nn.Module], heads: set[str]) -> Fault:
    known = sorted({path.rpartition(".")[2] for path in linear})
    if any(_matches(path, name) for path in heads):
        message = f"{name} is the output head, which receives no update"
        return Fault("TW-BASE-038", message, "training.adapter.targets", f"choose among {', '.join(known)}")
    near = difflib.get_close_matches(name, known, n=3) or known
    message, cure = f"no linear layer is named {name}", f"did you mean {', '.join(near)}?"
    return Fault("TW-BASE-033", message, "training.adapter.targets", cure)


def _matches(path: str, name: str) -> bool:
    return path == name or path.endswith("." + name)


@dataclass(frozen=True)
class Unreached:
    """Weights that no adapter of ``all-linear`` can change, because they are no linear layers.

    Attributes:
        weights: name of each such parameter, its layer's number written as ``*`` → number of weights.
        share: of the weights between embeddings and output head.
    """

    weights: Mapping[str, int]
    share: float

    def __str__(self) -> str:
        names = ", ".join(sorted(self.weights))
        return f"{self.share:.0%} of the weights are no linear layers and receive no update: {names}"


def unreached(model: nn.Module) -> Unreached | None:
    """What ``all-linear`` does not reach in ``model``; None where it reaches every matrix.

    In transformers 5 the experts of a mixture are one parameter of three dimensions per layer and projection, and the
    router is a parameter too. They hold most of such a model's weights, and stay as they are.
    """
    head = cast(Any, model).get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, nn.Linear | Nf4Linear) and m is not head]
    embeddings = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    inside = {id(p) for m in (head, *embeddings, *linear) for p in m.parameters()}
    updates = [m for m in model.modules() if isinstance(m, LoraLinear)]
    inside |= {id(p) for m in updates for p in m.parameters(recurse=False)}
    missed: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and id(parameter) not in inside:
            pattern = re.sub(r"\.\d+\.", ".*.", name)
            missed[pattern] = missed.get(pattern, 0) + parameter.numel()
    if not missed:
        return None
    reached, lost = sum(m.in_features * m.out_features for m in linear), sum(missed.values())
    return Unreached(missed, lost / (lost + reached))


def weights_of(layers: Mapping[str, LoraLinear], config: AdapterConfig) -> AdapterWeights:
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
def set_weights(layers: Mapping[str, LoraLinear], weights: AdapterWeights) -> None:
    """Give ``layers`` the values of an adapter of the same kind and size.

    Raises:
        ModelError: targets, rank, scale or kind differ; every fault.
    """
    cure = "take training.adapter from the run that made the adapter"
    faults = []
    ranks, scales = {layer.a.shape[0] for layer in layers.values()}, {layer.scale for layer in layers.values()}
    if ranks != {weights.rank} or scales != {weights.scale}:
        told = f"the adapter has rank {weights.rank} and scale {weights.scale:g}, the settings ask for rank"
        told += f" {', '.join(map(str, sorted(ranks)))} and scale {', '.join(f'{scale:g}' for scale in sorted(scales))}"
        raise ModelError(Fault("TW-BASE-036", told, "training.adapter", cure))
    for path in sorted(layers.keys() ^ weights.pairs.keys()):
        faults.append(Fault("TW-BASE-036", "is a target of the adapter or of the settings, not of both", path, cure))
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
