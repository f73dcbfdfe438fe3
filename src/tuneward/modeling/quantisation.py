"""Quantisation: linear layers of a frozen base in four bits.

Place on the road: between ``load_base`` and ``add_lora`` when the adapter's kind is ``qlora``. NF4 with double
quantisation (QLoRA, arXiv 2305.14314, section 3): blocks of 64 weights share a scale, blocks of 256 scales share
another, together 4.127 bits a weight. The numbers are those of bitsandbytes, which is an optional extra and imported
when the first layer is quantised. Knows no adapter and no file.
"""

import functools
import logging
import sys
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuneward.errors import Fault, MachineError

BLOCK, OUTER_BLOCK = 64, 256


class Nf4Linear(nn.Module):
    """A frozen linear layer whose weight is kept in four bits and made whole for each product.

    Attributes:
        in_features: width of the input.
        out_features: width of the output.
        dtype: type that the weight had, and has again when it is made whole.
        packed: two weights a byte.
        scales: one byte per block of 64 weights.
        outer: the bytes of fp32 numbers (so that casting a model's floats leaves them whole): one scale per 256
            scales, and last the mean of the scales.
        bias: as the layer had it, or None.
    """

    packed: Tensor
    scales: Tensor
    outer: Tensor

    def __init__(self, linear: nn.Linear, *, device: torch.device | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().to(device or linear.weight.device)
        self.dtype = weight.dtype
        packed, state = _functional().quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        outer = torch.cat([state.state2.absmax, state.offset.reshape(1)]).float()
        self.register_buffer("packed", packed)
        self.register_buffer("scales", state.absmax)
        self.register_buffer("outer", outer.view(torch.uint8))
        self.bias = None
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().to(weight.device), requires_grad=False)

    def dequantise(self) -> Tensor:
        """(out, in) in ``dtype``; made anew at each call."""
        bitsandbytes = _functional()
        outer = self.outer.view(torch.float32)
        state = bitsandbytes.QuantState(
            absmax=self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            dtype=self.dtype,
            blocksize=BLOCK,
            quant_type="nf4",
            offset=outer[-1],
            state2=bitsandbytes.QuantState(
                absmax=outer[:-1], blocksize=OUTER_BLOCK, code=_scale_code(self.scales.device), dtype=torch.float32
            ),
        )
        return cast(Tensor, bitsandbytes.dequantize_4bit(self.packed, state))

    @property
    def weight(self) -> Tensor:
        """:meth:`dequantise`; some architectures look at a layer's weight for its type."""
        return self.dequantise()

    @property
    def bytes(self) -> int:
        """Memory that it holds, scales and bias included."""
        kept = [self.packed, self.scales, self.outer, *([] if self.bias is None else [self.bias])]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out) in the type of ``x``."""
        return cast(Tensor, _Nf4Product.apply(x, self))

    def extra_repr(self) -> str:
        """Sizes, as ``nn.Linear`` shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, nf4"


class _Nf4Product(torch.autograd.Function):
    """``x Wᵀ + bias`` with a gradient for x only; W is made whole in both passes and kept in neither."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer
        return functional.linear(x, layer.dequantise(), layer.bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return torch.matmul(gradients[0], ctx.layer.dequantise()), None


def quantise(model: nn.Module, *, device: torch.device | None = None) -> int:
    """Keep every linear layer of ``model`` but the output head in four bits, in place, one layer at a time.

    Embeddings, norms, routers and experts that are no linear layers stay as they are.

    Args:
        model: a frozen base.
        device: where the quantised layers shall be; where they are when None.

    Returns:
        How many layers were replaced.

    Raises:
        MachineError: bitsandbytes is not installed.
    """
    head = cast(Any, model).get_output_embeddings()
    paths = [path for path, module in model.named_modules() if type(module) is nn.Linear and module is not head]
    for path in paths:
        parent, _, name = path.rpartition(".")
        owner = model.get_submodule(parent)
        setattr(owner, name, Nf4Linear(getattr(owner, name), device=device).train(owner.training))
    return len(paths)


def release_files(model: nn.Module) -> None:
    """Copy the weights that were not quantised, so that nothing holds the files that they were mapped from."""
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def weight_bytes(model: nn.Module) -> int:
    """Memory of a model's weights, packed ones included, tied ones once."""
    packed = sum(module.bytes for module in model.modules() if isinstance(module, Nf4Linear))
    inside = {id(module.bias) for module in model.modules() if isinstance(module, Nf4Linear)}
    return packed + sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in inside)


def weight_count(model: nn.Module) -> int:
    """Number of a model's weights, packed ones included, tied ones once."""
    packed = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, Nf4Linear))
    return packed + sum(p.numel() for p in model.parameters())


def import_bitsandbytes(setting: str = "training.adapter.kind") -> ModuleType:
    """The package bitsandbytes, imported without leave to fetch anything.

    On a CPU that multiplies bf16 it asks the package ``kernels`` for code from a hub while it is imported; none of that
    code is used here, so the package is hidden from it meanwhile, and its regret is not heard.

    Args:
        setting: what asked for it.

    Raises:
        MachineError: it is not installed.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    hidden, sys.modules["kernels"] = sys.modules.get("kernels"), cast(Any, None)
    try:
        import bitsandbytes
        import bitsandbytes.functional
    except ImportError as error:
        message, cure = f"{setting} needs bitsandbytes", "pip install 'tuneward[qlora]', or choose without it"
        raise MachineError(Fault("TW-ENV-005", message, setting, cure)) from error
    finally:
        del sys.modules["kernels"]
        if hidden is not None:
            sys.modules["kernels"] = hidden
    return bitsandbytes


@functools.cache
def _functional() -> ModuleType:
    return cast(ModuleType, import_bitsandbytes().functional)


@functools.cache
def _scale_code(device: torch.device) -> Tensor:
    """(256,): the values that a scale's byte stands for (dynamic 8 bits, arXiv 2110.02861)."""
    return cast(Tensor, _functional().create_dynamic_map()).to(device)
