"""Quantisation: matrices of a frozen base in four bits.

Place on the road: between ``load_base`` and ``add_lora`` when the adapter's kind is ``qlora``. NF4 with double
quantisation (QLoRA, arXiv 2305.14314, section 3): blocks of 64 weights share a scale, blocks of 256 scales share
another, together 4.127 bits a weight. The numbers are those of bitsandbytes, which is an optional extra and imported
when the first layer is quantised. Embedding and output head are ``quantised_ends``'. Knows no adapter and no file.
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


class Nf4Matrix(nn.Module):
    """A frozen matrix kept in four bits, and made whole where it is asked for.

    Attributes:
        in_features: width of a row.
        out_features: number of rows.
        dtype: type that the matrix had, and has again when it is made whole.
        packed: two weights a byte.
        scales: one byte per block of 64 weights.
        outer: the bytes of fp32 numbers (so that casting a model's floats leaves them whole): one scale per 256
            scales, and last the mean of the scales.
    """

    packed: Tensor
    scales: Tensor
    outer: Tensor

    def __init__(self, weight: Tensor, *, device: torch.device | None = None) -> None:
        super().__init__()
        weight = weight.detach().to(device or weight.device)
        self.out_features, self.in_features = weight.shape
        self.dtype = weight.dtype
        packed, state = _functional().quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        outer = torch.cat([state.state2.absmax, state.offset.reshape(1)]).float()
        self.register_buffer("packed", packed)
        self.register_buffer("scales", state.absmax)
        self.register_buffer("outer", outer.view(torch.uint8))

    @property
    def shape(self) -> torch.Size:
        """(out, in)."""
        return torch.Size((self.out_features, self.in_features))

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.packed.device

    @property
    def requires_grad(self) -> bool:
        """Never: what is rounded to sixteen values cannot be moved by little."""
        return False

    def numel(self) -> int:
        """Weights, as of a tensor."""
        return self.out_features * self.in_features

    @property
    def bytes(self) -> int:
        """Memory that it holds, scales included."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.packed, self.scales, self.outer))

    def dequantise(self) -> Tensor:
        """(out, in) in ``dtype``; made anew at each call."""
        bitsandbytes = _functional()
        outer = self.outer.view(torch.float32)
        state = bitsandbytes.QuantState(
            absmax=self.scales,
            shape=self.shape,
            dtype=self.dtype,
            blocksize=BLOCK,
            quant_type="nf4",
            offset=outer[-1],
            state2=bitsandbytes.QuantState(
                absmax=outer[:-1], blocksize=OUTER_BLOCK, code=_scale_code(self.scales.device), dtype=torch.float32
            ),
        )
        return cast(Tensor, bitsandbytes.dequantize_4bit(self.packed, state))

    def rows(self, numbers: Tensor | slice) -> Tensor:
        """(numbers, in): some rows alone, with the very numbers that :meth:`dequantise` gives them.

        Args:
            numbers: (numbers,) int64, or a slice of step 1; rows must be whole blocks, see :attr:`has_rows`.
        """
        assert self.has_rows, "a block of this matrix lies in two rows"
        blocks = self.in_features // BLOCK
        packed = self.packed.view(self.out_features, self.in_features // 2)[numbers]
        scales = self.scales.view(self.out_features, blocks)[numbers]
        if isinstance(numbers, slice):
            numbers = torch.arange(numbers.start, numbers.start + packed.shape[0], device=self.device)
        outer = self.outer.view(torch.float32)
        own = (numbers[:, None] * blocks + torch.arange(blocks, device=self.device)) // OUTER_BLOCK
        absmax = _scale_code(self.device)[scales.int()] * outer[own] + outer[-1]  # (numbers, blocks), fp32
        bitsandbytes = _functional()
        state = bitsandbytes.QuantState(
            absmax=absmax.flatten(),
            shape=torch.Size((packed.shape[0], self.in_features)),
            dtype=self.dtype,
            blocksize=BLOCK,
            quant_type="nf4",
        )
        return cast(Tensor, bitsandbytes.dequantize_4bit(packed.reshape(-1, 1), state))

    @property
    def has_rows(self) -> bool:
        """Whether each row is made of whole blocks, so that it can be made whole without its neighbours."""
        return self.in_features % BLOCK == 0

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, nf4"


class Nf4Linear(Nf4Matrix):
    """A frozen linear layer whose weight is kept in four bits and made whole for each product.

    Attributes:
        bias: as the layer had it, or None.
    """

    def __init__(self, linear: nn.Linear, *, device: torch.device | None = None) -> None:
        super().__init__(linear.weight, device=device)
        self.bias = None
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().to(self.device), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """:meth:`dequantise`; some architectures look at a layer's weight for its type."""
        return self.dequantise()

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
    packed = sum(module.bytes for module in model.modules() if isinstance(module, Nf4Matrix))
    return packed + sum(p.numel() * p.element_size() for p in model.parameters())


def weight_count(model: nn.Module) -> int:
    """Number of a model's weights, packed ones included, tied ones once."""
    packed = sum(module.numel() for module in model.modules() if isinstance(module, Nf4Matrix))
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
