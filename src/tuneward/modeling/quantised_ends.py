"""Quantised ends: the embedding and the output head of a frozen base in four bits.

Place on the road: after ``quantise``, where ``adapter.quantise_embeddings`` asks for it. In small models these two hold
a fifth of the weights and more. Both are matrices of one row per token: looking up makes the rows asked for whole and
no other, the head multiplies with slices of its rows, so that neither ever lies whole in memory. Tied weights are
quantised once and stay one. Knows no loss; ``training.losses.head`` asks for slices itself.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuneward.modeling.quantisation import BLOCK, Nf4Matrix

#: Of a head's weight, this much at most is made whole at once outside of training.
PIECE_BYTES = 32 << 20


class Nf4Embedding(nn.Module):
    """A table of token vectors in four bits.

    Attributes:
        weight: the table.
        embed_scale: factor of what is looked up, as the architecture's own embedding has it; None for 1.
    """

    embed_scale: Tensor | None

    def __init__(self, weight: Nf4Matrix, embed_scale: Tensor | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.register_buffer("embed_scale", embed_scale, persistent=False)

    @property
    def num_embeddings(self) -> int:
        """Tokens."""
        return self.weight.out_features

    @property
    def embedding_dim(self) -> int:
        """Width of a vector."""
        return self.weight.in_features

    def forward(self, ids: Tensor) -> Tensor:
        """(…) int64 → (…, width)."""
        found = self.weight.rows(ids.flatten()).view(*ids.shape, self.embedding_dim)
        return found if self.embed_scale is None else found * self.embed_scale.to(found.dtype)


class Nf4Head(nn.Module):
    """An output head in four bits.

    Attributes:
        weight: (vocabulary, hidden).
        bias: as the head had it, or None.
    """

    def __init__(self, weight: Nf4Matrix, bias: nn.Parameter | None = None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    @property
    def in_features(self) -> int:
        """Width of a hidden state."""
        return self.weight.in_features

    @property
    def out_features(self) -> int:
        """Tokens."""
        return self.weight.out_features

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden) → (…, vocabulary) in the type of ``x``."""
        return head_product(x, self.weight, self.bias)


def head_product(x: Tensor, weight: Tensor | Nf4Matrix, bias: Tensor | None = None) -> Tensor:
    """``x Wᵀ + bias``, with a gradient for x whatever ``weight`` is kept in."""
    if isinstance(weight, Nf4Matrix):
        return cast(Tensor, _SlicedProduct.apply(x, weight, bias))
    return nn.functional.linear(x, weight, bias)


def slices(weight: Tensor | Nf4Matrix, most_bytes: int) -> Iterator[tuple[slice, Tensor]]:
    """The rows of a matrix with their numbers: a plain matrix at once, one in four bits in slices made whole.

    Args:
        weight: (out, in).
        most_bytes: memory that a slice may take.
    """
    if isinstance(weight, Tensor):
        yield slice(0, weight.shape[0]), weight
        return
    step = slice_rows(weight, most_bytes)
    for start in range(0, weight.out_features, step):
        part = slice(start, min(start + step, weight.out_features))
        yield part, weight.rows(part)


def slice_rows(weight: Nf4Matrix, most_bytes: int) -> int:
    """Rows that take ``most_bytes`` at most when made whole, in as many as there are or in even parts; at least one."""
    fitting = max(1, most_bytes // (weight.in_features * weight.dtype.itemsize))
    return -(-weight.out_features // -(-weight.out_features // fitting))


class _SlicedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Nf4Matrix, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        found = x.new_empty((*x.shape[:-1], weight.out_features))
        for at, part in slices(weight, PIECE_BYTES):
            found[..., at] = nn.functional.linear(x, part, None if bias is None else bias[at])
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        found = gradient.new_zeros((*gradient.shape[:-1], ctx.weight.in_features), dtype=torch.float32)
        for at, part in slices(ctx.weight, PIECE_BYTES):
            found += torch.matmul(gradient[..., at], part)
        return found.to(gradient.dtype), None, None


def quantise_ends(model: nn.Module, *, device: torch.device | None = None) -> None:
    """Keep the embedding and the output head of ``model`` in four bits, in place, where they can be.

    One of two that are tied stays with the other: the matrix would lie there in its own type all the same.

    Args:
        model: a frozen base.
        device: where they shall be; where they are when None.
    """
    known: Any = model
    embedding, head = known.get_input_embeddings(), known.get_output_embeddings()
    made: dict[int, Nf4Matrix] = {}
    for end in _taken(embedding, head):
        weight = made.get(id(end.weight)) or Nf4Matrix(end.weight, device=device)
        made[id(end.weight)] = weight
        new = _embedding(end, weight) if end is embedding else Nf4Head(weight, _placed(end.bias, weight))
        _replace(model, end, new.train(end.training))


def why_whole(model: nn.Module) -> str:
    """Why embedding or head of a base that was to be kept in four bits are not; empty where both are."""
    known: Any = model
    ends = {"the embedding": known.get_input_embeddings(), "the output head": known.get_output_embeddings()}
    whole = {name: end for name, end in ends.items() if not isinstance(end, Nf4Embedding | Nf4Head)}
    return "; ".join(f"{name} {_stays(end) or 'is tied to the other'}" for name, end in whole.items())


def _taken(embedding: Any, head: Any) -> list[Any]:
    """Which of the two are quantised."""
    found = [end for end in (embedding, head) if _stays(end) is None]
    tied = embedding is not None and head is not None and embedding.weight is head.weight
    return [] if tied and len(found) < 2 else found


def _stays(end: Any) -> str | None:
    """Why an embedding or head cannot be kept in four bits."""
    weight = getattr(end, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return "is no matrix"
    if weight.shape[1] % BLOCK:
        return f"has rows of {weight.shape[1]} weights, which are no whole blocks of {BLOCK}"
    if not isinstance(end, nn.Linear | nn.Embedding) or not _computes_plainly(end):
        return f"computes in its own way ({type(end).__name__})"
    return None


@torch.no_grad()
def _computes_plainly(end: nn.Linear | nn.Embedding) -> bool:
    """Whether it is a product, or a look-up with at most a factor; asked of it, for architectures have their own."""
    if isinstance(end, nn.Linear):
        return type(end) is nn.Linear
    ids = torch.arange(min(4, end.num_embeddings), device=end.weight.device)
    wanted = end.weight[ids]
    factor = getattr(end, "embed_scale", None)
    if isinstance(factor, Tensor):
        wanted = wanted * factor.to(wanted.dtype)
    return torch.equal(end(ids), wanted) and end.max_norm is None


def _embedding(end: nn.Embedding, weight: Nf4Matrix) -> Nf4Embedding:
    factor = getattr(end, "embed_scale", None)
    return Nf4Embedding(weight, factor.to(weight.device) if isinstance(factor, Tensor) else None)


def _placed(bias: nn.Parameter | None, weight: Nf4Matrix) -> nn.Parameter | None:
    return None if bias is None else nn.Parameter(bias.detach().to(weight.device), requires_grad=False)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, new)
