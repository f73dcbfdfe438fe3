"""Adapter bank: many LoRA adapters on one base in memory, and which token of a step goes through which.

Place on the road: in the engine, between ``adapter_files`` and ``generate``. Adapters stay unmerged, so the base's
weights are never touched and a row without adapter computes exactly what the base computes. Same numerics as training's
``LoraLinear``: A and the scaled B cast to the activations' type; of DoRA, whose row lengths are computed once when the
adapter is loaded, the departure of each row's gain from 1. Of a mixture's experts each row passes its own adapter's
factors of the experts that it is sent to. Knows no names, routes or files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tuneward.errors import ModelError
from tuneward.modeling.adapter_files import AdapterWeights, check_fits
from tuneward.modeling.experts import PROJECTIONS, Groups, experts_product, grouped, stacks_of, through_experts
from tuneward.modeling.low_rank import dense, excess, row_norms, row_squares


@dataclass(eq=False)
class LoadedAdapter:
    """An adapter in the model's type.

    Attributes:
        rank: rank of its pairs.
        pairs: module path → Aᵀ (in, rank) and Bᵀ times the scale (rank, out); of experts parameter path → one of each
            per expert.
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
    without adapters costs nothing and module paths never change. A module of experts, whose products lie within it,
    gets a forward of its own likewise; a call whose adapters leave it alone goes through the library's.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._adapters: list[LoadedAdapter] = []
        self._hooks: dict[str, RemovableHandle] = {}
        self._replaced: set[str] = set()  # paths of modules of experts
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
            owner, _, name = path.rpartition(".")
            stacked = a.ndim == 3
            base: Any = self._model.get_submodule(owner if stacked else path)
            weight = stacks_of(base)[name].weight if stacked else dense(base)
            a_low = a.to(device=weight.device, dtype=weight.dtype)
            b_low = (b.float() * weights.scale).to(device=weight.device, dtype=weight.dtype)
            adapter.pairs[path] = (a_low.mT, b_low.mT)
            if path in weights.magnitudes:
                norms = row_norms(weight, a_low, b_low, row_squares(weight))
                adapter.more[path] = excess(weights.magnitudes[path].to(weight.device), norms, weight.dtype)
        self._adapters.append(adapter)
        for path in _layers(adapter) - self._hooks.keys():
            self._hooks[path] = self._model.get_submodule(path).register_forward_hook(self._hook(path))
        for owner in _modules(adapter) - self._replaced:
            experts: Any = self._model.get_submodule(owner)
            experts.forward = self._through(owner, experts)
            self._replaced.add(owner)
        return adapter

    def unload(self, adapter: LoadedAdapter) -> None:
        """Forget ``adapter`` and free its memory at once; the caller sees to it that no row still uses it."""
        self._adapters.remove(adapter)
        self._runs = []
        adapter.pairs.clear()
        adapter.more.clear()
        for path in self._hooks.keys() - {path for other in self._adapters for path in _layers(other)}:
            self._hooks.pop(path).remove()
        for owner in self._replaced - {path for other in self._adapters for path in _modules(other)}:
            del self._model.get_submodule(owner).forward  # the instance's; the class has its own
            self._replaced.remove(owner)

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

    def _through(self, owner: str, experts: Any) -> Any:
        library = experts.forward
        paths = {name: f"{owner}.{name}" for name in PROJECTIONS}

        def forward(hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
            runs = [run for run in self._runs if not run.adapter.pairs.keys().isdisjoint(paths.values())]
            if not runs:
                return cast(Tensor, library(hidden_states, top_k_index, top_k_weights))
            stacks, tokens = stacks_of(experts), hidden_states.shape[0]
            mine = torch.zeros(len(runs), tokens, dtype=torch.bool, device=hidden_states.device)
            for number, run in enumerate(runs):
                mine[number, run.tokens] = True

            def product(name: str, x: Tensor, groups: Groups, token: Tensor) -> Tensor:
                y = experts_product(x, stacks[name], groups)
                for number, run in enumerate(runs):
                    if (pair := run.adapter.pairs.get(paths[name])) is not None:
                        _add_experts(y, x, pair, groups, mine[number, token].nonzero().squeeze(1))
                return y

            return through_experts(experts, hidden_states, top_k_index, top_k_weights, product)

        return forward


def _add_experts(y: Tensor, x: Tensor, pair: tuple[Tensor, Tensor], groups: Groups, rows: Tensor) -> None:
    """Add an adapter's updates to its own rows of an expert product, in place."""
    if rows.shape[0] == x.shape[0]:
        grouped(grouped(x, pair[0], groups), pair[1], groups, onto=y)
        return
    some, own = groups.among(rows), y[rows]
    grouped(grouped(x[rows], pair[0], some), pair[1], some, onto=own)
    y.index_copy_(0, rows, own)


def _layers(adapter: LoadedAdapter) -> set[str]:
    """Paths of the linear layers that it changes."""
    return {path for path, (a, _) in adapter.pairs.items() if a.ndim == 2}


def _modules(adapter: LoadedAdapter) -> set[str]:
    """Paths of the modules of experts that it changes."""
    return {path.rpartition(".")[0] for path, (a, _) in adapter.pairs.items() if a.ndim == 3}


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
