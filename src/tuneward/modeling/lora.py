"""LoRA: a trained update of low rank beside each frozen linear layer.

Place on the road: between a frozen base and the training loop. ``y = W x + (alpha / rank) B A x`` (arXiv 2106.09685,
section 4.1). A and B are kept and trained in fp32; the products run in the activations' type and the input is never
cast up. Knows no file format (``adapter_files``) and no optimizer.
"""

import difflib
import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuneward.errors import Fault, ModelError
from tuneward.modeling.config import ALL_LINEAR, AdapterConfig


class LoraLinear(nn.Module):
    """A frozen linear layer with its update.

    Attributes:
        base: the frozen layer.
        a: (rank, in) fp32, trained; uniform at the start as a linear layer's weight (Kaiming, as in the paper's code).
        b: (out, rank) fp32, trained; zero at the start, so that training begins at the base.
        scale: ``alpha / rank``.
    """

    def __init__(self, base: nn.Linear, config: AdapterConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.scale = config.scale
        self.dropout = config.dropout
        device = base.weight.device
        bound = 1 / math.sqrt(base.in_features)
        start = torch.empty(config.rank, base.in_features).uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(start.to(device))
        self.b = nn.Parameter(torch.zeros(base.out_features, config.rank, device=device))

    @property
    def weight(self) -> Tensor:
        """The frozen weight; some architectures look at a layer's weight for its type."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out) in the type of ``x``."""
        keep = None
        if self.training and self.dropout:
            keep = torch.empty_like(x, dtype=torch.bool).bernoulli_(1 - self.dropout)
        base = self.base
        return cast(
            Tensor, _LoraProduct.apply(x, base.weight, base.bias, self.a, self.b, self.scale, keep, self.dropout)
        )


class _LoraProduct(torch.autograd.Function):
    """``x Wᵀ + bias + ((x ∘ keep) Aᵀ)(scale B)ᵀ`` with gradients for x, A and B only.

    Saved for the backward pass: x (which the layer's siblings share) and x Aᵀ of width ``rank``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        keep: Tensor | None,
        dropout: float,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])  # (tokens, in)
        a_low, b_low = a.to(x.dtype), (b * scale).to(x.dtype)
        dropped = _dropped(flat, keep, dropout)
        narrow = torch.mm(dropped, a_low.t())  # (tokens, rank)
        y = functional.linear(flat, weight, bias).addmm_(narrow, b_low.t())
        ctx.save_for_backward(flat, weight, a_low, b_low, narrow, keep)
        ctx.scale, ctx.shape, ctx.dropout = scale, x.shape, dropout
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, weight, a_low, b_low, narrow, keep = ctx.saved_tensors
        g = gradients[0].reshape(-1, weight.shape[0])  # (tokens, out)
        d_narrow = torch.mm(g, b_low)  # (tokens, rank)
        d_b = torch.mm(g.t(), narrow).float().mul_(ctx.scale)
        d_a = torch.mm(d_narrow.t(), _dropped(flat, keep, ctx.dropout)).float()
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.mm(g, weight)
            if keep is None:
                d_x.addmm_(d_narrow, a_low)
            else:
                d_x += _dropped(torch.mm(d_narrow, a_low), keep, ctx.dropout)
            d_x = d_x.view(ctx.shape)
        return d_x, None, None, d_a, d_b, None, None, None


def _dropped(flat: Tensor, keep: Tensor | None, dropout: float) -> Tensor:
    """Inverted dropout with a given mask of what is kept."""
    return flat if keep is None else flat * keep.view_as(flat) / (1 - dropout)


def add_lora(model: nn.Module, config: AdapterConfig, *, seed: int) -> dict[str, LoraLinear]:
    """Put an update beside every target of ``model``, in place, and freeze all else.

    Args:
        model: the base, as ``load_base`` returns it.
        config: rank, alpha, dropout and targets.
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


def find_targets(model: nn.Module, config: AdapterConfig) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers that ``config.targets`` names, in the model's order; never the output head.

    Raises:
        ModelError: one fault per name that matches nothing, with the nearest names.
    """
    head = cast(Any, model).get_output_embeddings()
    linear = {path: m for path, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    if config.targets != ALL_LINEAR:
        known = sorted({path.rpartition(".")[2] for path in linear})
        faults = []
        for name in config.targets:
            if not any(_matches(path, name) for path in linear):
                near = difflib.get_close_matches(name, known, n=3) or known
                faults.append(
                    Fault(
                        "TW-BASE-033",
                        f"no linear layer is named {name}",
                        "training.adapter.targets",
                        f"did you mean {', '.join(near)}?",
                    )
                )
        if faults:
            raise ModelError(faults)
        linear = {path: m for path, m in linear.items() if any(_matches(path, name) for name in config.targets)}
    if not linear:
        raise ModelError(
            Fault("TW-BASE-033", "the model has no linear layer", "training.adapter.targets", "choose another base")
        )
    yield from linear.items()


def _matches(path: str, name: str) -> bool:
    return path == name or path.endswith("." + name)
