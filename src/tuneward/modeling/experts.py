"""Experts of a mixture: their stacked weights, and the products through them with an update of low rank per expert.

Place on the road: beneath ``lora`` (training) and ``adapter_bank`` (serving), as ``low_rank`` is for linear layers. In
transformers 5 the experts of a layer are one parameter of three dimensions per projection, and how a module of experts
is computed is the library's own interface (``transformers.integrations.moe``): names, orientation, gate, biases. That
interface is followed here, so no architecture needs code. No sum of weight and update is ever made: tokens are sorted
by expert, and each expert's tokens pass its weight and its two narrow factors. Knows no settings and no file.

Shapes: x (pairs, in) with a row per pair of a token and an expert that it was sent to, sorted by expert; W
(experts, out, in), or (experts, in, out) where the module says ``is_transposed``; A (experts, rank, in); B
(experts, out, rank).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

#: What the interface calls the projections: into the experts (with a gate or without), and out of them.
INTO_GATED, INTO, OUT_OF = "gate_up_proj", "up_proj", "down_proj"
#: In the order in which the library's modules have them.
PROJECTIONS = (INTO_GATED, INTO, OUT_OF)


@dataclass(frozen=True)
class Stack:
    """One projection of a module of experts.

    Attributes:
        experts: the module.
        name: the parameter's.
    """

    experts: nn.Module
    name: str

    @property
    def weight(self) -> Tensor:
        """As the module has it."""
        return cast(Tensor, getattr(self.experts, self.name))

    @property
    def transposed(self) -> bool:
        """Whether a matrix is (in, out) instead of (out, in)."""
        return bool(self.experts.is_transposed)

    @property
    def bias(self) -> Tensor | None:
        """(experts, out) or None."""
        return cast(Tensor, getattr(self.experts, f"{self.name}_bias")) if self.experts.has_bias else None

    @property
    def matrices(self) -> Tensor:
        """(experts, out, in): a view."""
        return self.weight.mT if self.transposed else self.weight

    @property
    def count(self) -> int:
        """Number of experts."""
        return self.weight.shape[0]

    @property
    def in_features(self) -> int:
        """Width of what goes in."""
        return self.matrices.shape[2]

    @property
    def out_features(self) -> int:
        """Width of what comes out."""
        return self.matrices.shape[1]


def stacks_of(module: nn.Module) -> dict[str, Stack]:
    """The projections of a module that follows the library's interface, by name; empty for any other."""
    told = (getattr(module, name, None) for name in ("has_gate", "has_bias", "is_transposed"))
    if not all(isinstance(value, bool) for value in told) or not callable(getattr(module, "_apply_gate", None)):
        return {}
    names = (INTO_GATED if module.has_gate else INTO, OUT_OF)
    weights = [module._parameters.get(name) for name in names]
    if any(weight is None or weight.ndim != 3 for weight in weights):
        return {}
    return {name: Stack(module, name) for name in names}


def find_stacks(model: nn.Module) -> Iterator[tuple[str, Stack]]:
    """Every projection of experts in ``model`` by its parameter's path, in the model's order."""
    for path, module in model.named_modules():
        for name, stack in stacks_of(module).items():
            yield f"{path}.{name}", stack


class Groups:
    """Which rows belong to which expert.

    Args:
        ids: (rows,) the expert of each row, ascending; rows of numbers beyond the last expert belong to none.
        experts: how many there are.

    Attributes:
        ids: as given.
        offsets: (experts,) int32: row behind the last of each expert.
    """

    def __init__(self, ids: Tensor, experts: int) -> None:
        self.ids, self._experts = ids, experts
        if ids.is_meta:  # nothing can be counted there
            self.offsets = torch.empty(experts, dtype=torch.int32, device="meta")
        else:
            numbers = torch.arange(experts, device=ids.device, dtype=ids.dtype)
            self.offsets = torch.searchsorted(ids, numbers, right=True).to(torch.int32)

    @cached_property
    def ends(self) -> list[int]:
        """``offsets`` as numbers; of a model on paper, as if all experts had equally many rows."""
        if self.offsets.is_meta:
            return [self.ids.shape[0] * (number + 1) // self._experts for number in range(self._experts)]
        return cast(list[int], self.offsets.tolist())

    def among(self, rows: Tensor) -> "Groups":
        """The groups of some rows, given by their numbers in ascending order."""
        return Groups(self.ids[rows], self._experts)

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Number and rows of each expert that has some."""
        begin = 0
        for number, end in enumerate(self.ends):
            if end > begin:
                yield number, slice(begin, end)
            begin = end


def grouped(x: Tensor, matrices: Tensor, groups: Groups, *, onto: Tensor | None = None) -> Tensor:
    """(rows, in) through the (experts, in, out) matrix of each row's expert → (rows, out); no gradients.

    Args:
        x: sorted by expert.
        matrices: one per expert.
        groups: who has which rows.
        onto: what it is added to, in place.
    """
    if _at_once(x, matrices):
        y = functional.grouped_mm(x, matrices, offs=groups.offsets)
        return y if onto is None else onto.add_(y)
    y = x.new_zeros(x.shape[0], matrices.shape[2]) if onto is None else onto
    for number, rows in groups.spans():
        if onto is None:
            torch.mm(x[rows], matrices[number], out=y[rows])
        else:
            y[rows].addmm_(x[rows], matrices[number])
    return y


def grouped_outer(left: Tensor, right: Tensor, groups: Groups) -> Tensor:
    """(rows, m) and (rows, n) → (experts, m, n): ``leftᵀ right`` over each expert's rows; zero where it has none."""
    count = groups.offsets.shape[0]
    if _at_once(left, right.unsqueeze(0)) and left.shape[1] % 8 == 0:
        made = functional.grouped_mm(left.t(), right, offs=groups.offsets)
        empty = torch.diff(groups.offsets, prepend=groups.offsets.new_zeros(1)) == 0
        return made.masked_fill_(empty[:, None, None], 0)
    made = left.new_zeros(count, left.shape[1], right.shape[1])
    for number, rows in groups.spans():
        torch.mm(left[rows].t(), right[rows], out=made[number])
    return made


def _at_once(x: Tensor, matrices: Tensor) -> bool:
    """Whether the device computes all experts' products in one call; it asks for rows of whole 16 bytes."""
    if not x.is_cuda or x.dtype != torch.bfloat16 or torch.cuda.get_device_capability(x.device) < (8, 0):
        return False
    return x.is_contiguous() and all(size % 8 == 0 for size in (x.shape[1], matrices.shape[2]))


def experts_product(
    x: Tensor, stack: Stack, groups: Groups, a: Tensor | None = None, b: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    """``x Wᵀ + s x Aᵀ Bᵀ`` with each row's expert's W, A and B; gradients for x, A and B only.

    Saved for the backward pass: x and the narrow product x Aᵀ.

    Args:
        x: (rows, in), sorted by expert.
        stack: the frozen weights.
        groups: who has which rows.
        a: (experts, rank, in) fp32; None computes the base alone.
        b: (experts, out, rank) fp32.
        scale: s.
    """
    return cast(Tensor, _ExpertsProduct.apply(x, stack, groups, a, b, scale))


class _ExpertsProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, stack: Stack, groups: Groups, a: Tensor | None, b: Tensor | None, scale: float
    ) -> Tensor:
        y = grouped(x, stack.matrices.mT, groups)
        narrow = None
        if a is not None and b is not None:
            narrow = grouped(x, a.to(x.dtype).mT, groups)
            grouped(narrow, (b * scale).to(x.dtype).mT, groups, onto=y)
        ctx.save_for_backward(None if narrow is None else x, a, b, narrow)
        ctx.stack, ctx.groups, ctx.scale = stack, groups, scale
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, narrow = ctx.saved_tensors
        g, groups = gradients[0].contiguous(), ctx.groups
        d_a = d_b = d_x = d_narrow = None
        if narrow is not None:
            d_narrow = grouped(g, (b * ctx.scale).to(g.dtype), groups)
            d_b = grouped_outer(g, narrow, groups).float().mul_(ctx.scale)
            d_a = grouped_outer(d_narrow, x, groups).float()
        if ctx.needs_input_grad[0]:
            d_x = grouped(g, ctx.stack.matrices, groups)
            if d_narrow is not None:
                grouped(d_narrow, a.to(g.dtype), groups, onto=d_x)
        return d_x, None, None, d_a, d_b, None


#: Name of a projection, its rows' input, who has which rows, and which token each row is of → the product, no bias.
Product = Callable[[str, Tensor, Groups, Tensor], Tensor]


def through_experts(experts: Any, hidden: Tensor, index: Tensor, weights: Tensor, product: Product) -> Tensor:
    """What a module of experts computes, with ``product`` in the place of its two products.

    Args:
        experts: the module, after the library's interface.
        hidden: (tokens, hidden).
        index: (tokens, chosen) numbers of the experts that each token is sent to.
        weights: (tokens, chosen) what their answers weigh.
        product: see :data:`Product`.

    Returns:
        (tokens, hidden).
    """
    stacks: Mapping[str, Stack] = stacks_of(experts)
    into, out_of = stacks.values()
    tokens, chosen = index.shape
    ids, order = torch.sort(index.reshape(-1), stable=True)
    groups, token = Groups(ids, into.count), order // chosen
    x = hidden.to(into.weight.dtype)[token]
    y = _biased(product(into.name, x, groups, token), into, ids)
    y = experts._apply_gate(y) if experts.has_gate else experts.act_fn(y)
    y = _biased(product(out_of.name, y.contiguous(), groups, token), out_of, ids)
    if getattr(experts, "has_post_expert_norm", False):
        y = experts.post_expert_norm(y)
    y = y * weights.reshape(-1)[order].unsqueeze(-1)
    back = torch.empty_like(order)
    back[order] = torch.arange(order.shape[0], device=order.device)
    return y[back].view(tokens, chosen, -1).sum(dim=1).to(hidden.dtype)


def _biased(y: Tensor, stack: Stack, ids: Tensor) -> Tensor:
    return y if stack.bias is None else y + stack.bias[ids]


def merged_stack(weight: Tensor, a: Tensor, b: Tensor, *, scale: float, transposed: bool) -> Tensor:
    """``W + s B A`` of every expert in fp32, then in W's type; one expert at a time is made in fp32."""
    made = torch.empty_like(weight)
    for number in range(weight.shape[0]):
        left, right = (a[number].t(), b[number].t()) if transposed else (b[number], a[number])
        made[number] = weight[number].float().addmm(left.float(), right.float(), alpha=scale)
    return made
