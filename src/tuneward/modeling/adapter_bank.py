"""Adapter bank: many LoRA adapters on one base in memory, and which token of a step goes through which.

Place on the road: in the engine, between ``adapter_files`` and ``generate``. Adapters stay unmerged, so the base's
weights are never touched and a row without adapter computes exactly what the base computes. Same numerics as training's
``LoraLinear``: A and the scaled B cast to the activations' type; of DoRA, whose row lengths are computed once when the
adapter is loaded, the departure of each row's gain from 1. Knows no names, routes or files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tuneward.errors import ModelError
from tuneward.modeling.adapter_files import AdapterWeights, check_fits
from tuneward.modeling.low_rank import dense, excess, row_norms, row_squares


@dataclass(eq=False)
class LoadedAdapter:
    """An adapter in the model's type.

    Attributes:
        rank: rank of its pairs.
        pairs: module path → Aᵀ (in, rank) and Bᵀ times the scale (rank, out).
        more: module path → each row's gain, less 1 (out,); empty without DoRA.
    """

    rank: int
    pairs: dict[str, tuple[Tensor, Tensor]] = field(repr=False)
    more: dict[str, Tensor] = field(repr=False)

    @property
    def bytes(self) -> int:
        """Memory that it holds."""
        held = [*(tensor for pair in self.pairs.values() for tensor in pair), *self.more.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


@dataclass(frozen=True)
class _Run:
    adapter: LoadedAdapter
    tokens: slice | Tensor  # which tokens of the call


class AdapterBank:
    """The adapters of one model.

    A layer gets a forward hook with the first adapter that targets it and loses it with the last, so that a bank
    without adapters costs nothing and module paths never change.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._adapters: list[LoadedAdapter] = []
        self._hooks: dict[str, RemovableHandle] = {}
        self._runs: list[_Run] = []

    def load(self, weights: AdapterWeights) -> LoadedAdapter:
        """Add an adapter.

        Raises:
            ModelError: it does not fit the model; every fault.
        """
        faults = check_fits(weights, self._model)
        if faults:
            raise ModelError(faults)
        adapter = LoadedAdapter(weights.rank, {}, {})
        for path, (a, b) in weights.pairs.items():
            base: Any = self._model.get_submodule(path)
            weight = dense(base)
            a_low = a.to(device=weight.device, dtype=weight.dtype)
            b_low = (b.float() * weights.scale).to(device=weight.device, dtype=weight.dtype)
            adapter.pairs[path] = (a_low.t(), b_low.t())
            if path in weights.magnitudes:
                norms = row_norms(weight, a_low, b_low, row_squares(weight))
                adapter.more[path] = excess(weights.magnitudes[path].to(weight.device), norms, weight.dtype)
        self._adapters.append(adapter)
        for path in adapter.pairs.keys() - self._hooks.keys():
            self._hooks[path] = self._model.get_submodule(path).register_forward_hook(self._hook(path))
        return adapter

    def unload(self, adapter: LoadedAdapter) -> None:
        """Forget ``adapter`` and free its memory at once; the caller sees to it that no row still uses it."""
        self._adapters.remove(adapter)
        self._runs = []
        adapter.pairs.clear()
        adapter.more.clear()
        for path in self._hooks.keys() - {path for other in self._adapters for path in other.pairs}:
            self._hooks.pop(path).remove()

    def assign(self, spans: Sequence[tuple[LoadedAdapter | None, int]]) -> None:
        """Say which adapter each token of the next call goes through.

        Args:
            spans: adapter (None for the bare base) and number of tokens, in the order of the call's tokens.
        """
        device = next(self._model.parameters()).device
        self._runs = [_Run(adapter, tokens) for adapter, tokens in _segments(spans, device)]

    def _hook(self, path: str) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            for run in self._runs:
                pair = run.adapter.pairs.get(path)
                if pair is None:
                    continue
                x, y = inputs[0].view(-1, inputs[0].shape[-1]), output.view(-1, output.shape[-1])
                mine = y[run.tokens]  # a view of a slice, a copy of scattered tokens
                mine.addmm_(torch.mm(x[run.tokens], pair[0]), pair[1])
                if (more := run.adapter.more.get(path)) is not None:
                    bias = cast(Tensor | None, module.bias)
                    mine.addcmul_(mine if bias is None else mine - bias, more)
                if not isinstance(run.tokens, slice):
                    y.index_copy_(0, run.tokens, mine)

        return add


def _segments(
    spans: Sequence[tuple[LoadedAdapter | None, int]], device: torch.device
) -> Iterator[tuple[LoadedAdapter, slice | Tensor]]:
    """Each adapter once, with a slice where its tokens lie together and their indices where not."""
    ranges: dict[LoadedAdapter, list[tuple[int, int]]] = {}
    first = 0
    for adapter, tokens in spans:
        if adapter is not None:
            mine = ranges.setdefault(adapter, [])
            if mine and mine[-1][1] == first:
                mine[-1] = (mine[-1][0], first + tokens)
            else:
                mine.append((first, first + tokens))
        first += tokens
    for adapter, parts in ranges.items():
        if len(parts) == 1:
            yield adapter, slice(*parts[0])
        else:
            yield adapter, torch.cat([torch.arange(*part, device=device) for part in parts])
