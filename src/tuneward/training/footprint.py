"""What a token leaves in memory: measured on the very model, in two small passes forward and backward.

Place on the road: before ``plan``, once the model has what is trained. Whatever the architecture and its attention, the
autograd graph says what it keeps (``torch.autograd.graph.saved_tensors_hooks``: each storage once, weights left out),
and a dispatch mode sees what is alive on top of it. Two sizes of window tell what grows with the tokens from what does
not; attention weights, which grow with a document's square, are counted from the layout instead. A model on the meta
device is measured alike, so a plan on paper needs a config and no weights. Knows no rows, no settings and no loss.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from tuneward.modeling.attention import Scoring
from tuneward.modeling.base_model import hidden_states
from tuneward.modeling.layers import decoder_layers
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.recompute import interval_of

#: Lengths of the documents of the two windows that are passed, in tokens.
SMALL, LARGE = (64, 64), (128, 128)


@dataclass(frozen=True)
class Line:
    """Bytes that grow with the tokens of a window: ``fixed + per_token * tokens``."""

    fixed: float
    per_token: float

    def at(self, tokens: int) -> float:
        """Bytes of a window of so many tokens."""
        return self.fixed + self.per_token * tokens

    @classmethod
    def through(cls, small: float, large: float) -> "Line":
        """The line through what both windows took; neither of its parts is negative."""
        few, many = sum(SMALL), sum(LARGE)
        per_token = max(0.0, (large - small) / (many - few))
        return cls(max(0.0, small - per_token * few), per_token)


@dataclass(frozen=True)
class Attention:
    """Sizes of one layer's attention, as the model asked for it.

    Attributes:
        bytes: of one value.
        compiled: whether kernels compute it, which keep no weights.
    """

    heads: int
    kv_heads: int
    scoring: Scoring
    bytes: int
    compiled: bool

    def kept(self, layout: PackedDocuments) -> int:
        """Bytes of the attention weights that are kept for a window of this layout on a CPU."""
        return 0 if self.compiled else self.bytes * layout.kept_values(self.heads, self.kv_heads, self.scoring)


@dataclass(frozen=True)
class Footprint:
    """What windows leave in memory.

    Attributes:
        layers: saved for the backward pass by each decoder layer, attention weights left out.
        outside: saved by what lies outside the layers.
        entry: bytes of a layer's input per token: what a recomputed layer keeps.
        working: alive beside what is saved, at the most.
        attention: of each layer.
        keeps: whether attention weights are kept, which only a CPU does.
    """

    layers: tuple[Line, ...]
    outside: Line
    entry: float
    working: Line
    attention: tuple[Attention, ...]
    keeps: bool

    def saved(self, layout: PackedDocuments, recompute: bool | int = False) -> float:
        """Bytes kept for the backward pass of a window, with the one recomputed layer that is whole at a time."""
        tokens, every = sum(layout.lengths), interval_of(recompute)
        kept: dict[Attention, int] = {a: a.kept(layout) for a in set(self.attention)} if self.keeps else {}
        whole = [line.at(tokens) for line in self.layers]
        for number, attention in enumerate(self.attention):
            whole[min(number, len(whole) - 1)] += kept.get(attention, 0)
        total, again = self.outside.at(tokens), 0.0
        for number, size in enumerate(whole):
            if every and number % every == 0:
                total += self.entry * tokens
                again = max(again, size)
            else:
                total += size
        return total + again


@dataclass
class _Watching:
    """A layout that notes how the model asks it; everything else is the layout's own."""

    layout: PackedDocuments
    asked: dict[int, Attention] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See :class:`tuneward.modeling.attention.Layout`."""
        compiled = self.layout.is_compiled(query, key, value, scoring)
        self.asked[layer] = Attention(query.shape[1], key.shape[1], scoring, query.element_size(), compiled)
        return self.layout.attend(layer, query, key, value, scoring)

    def position_ids(self, device: torch.device | str = "cpu") -> Tensor:
        """See :class:`PackedDocuments`."""
        return self.layout.position_ids(device)


class _Alive(TorchDispatchMode):
    """Counts the bytes of storages that were made under it and still live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else (made,):
            if isinstance(value, Tensor):
                self._note(value, before=args)
        return made

    def _note(self, value: Tensor, *, before: Sequence[Any]) -> None:
        storage = value.untyped_storage()
        key = storage._cdata
        if key in self._known or any(isinstance(t, Tensor) and t.untyped_storage()._cdata == key for t in before):
            return  # a view, or written in place
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)

        def gone(_: Any) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)


@dataclass
class _Pass:
    """What one window took: saved by layer and outside, alive beside it, and the layers' attention."""

    saved: list[float]
    outside: float
    working: float
    attention: dict[int, Attention]


def measure(model: PreTrainedModel, ids: Sequence[int]) -> Footprint:
    """Pass two small windows through ``model``; weights, gradients and random numbers are afterwards as before.

    Args:
        model: with what is trained in it, its layers not yet recomputed.
        ids: tokens of the run; they are repeated as needed.

    Returns:
        What a window of any layout leaves.
    """
    device = model.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        _pass(model, ids, LARGE)  # gradients are there from now on, as they are in most of a run
        small, large = _pass(model, ids, SMALL), _pass(model, ids, LARGE)
    for parameter in model.parameters():
        parameter.grad = None
    config: Any = model.config
    fitted = [Line.through(a, b) for a, b in zip(small.saved, large.saved, strict=True)]
    return Footprint(
        layers=tuple(fitted),
        outside=Line.through(small.outside, large.outside),
        entry=config.get_text_config().hidden_size * model.dtype.itemsize,
        working=Line.through(small.working, large.working),
        attention=tuple(large.attention[layer] for layer in sorted(large.attention)),
        keeps=device.type in ("cpu", "meta"),
    )


def _pass(model: PreTrainedModel, ids: Sequence[int], lengths: tuple[int, ...]) -> _Pass:
    tokens = [ids[i % len(ids)] for i in range(sum(lengths))]
    layout = _Watching(PackedDocuments(lengths))
    layers = decoder_layers(model)
    tally = _Tally(model, len(layers))
    with ExitStack() as stack:
        stack.enter_context(tally.watching(layers))
        alive = stack.enter_context(_Alive())
        window = torch.tensor([tokens], device=model.device)
        with torch.autograd.graph.saved_tensors_hooks(tally.pack, lambda saved: saved):
            hidden = hidden_states(model, window, cast(PackedDocuments, layout))
        after, forward = alive.now, alive.most
        alive.most = alive.now
        hidden.backward(torch.zeros_like(hidden))
        backward = alive.most
    kept = [0.0] * max(1, len(layers))
    if model.device.type != "cuda":
        for layer, attention in layout.asked.items():
            kept[min(layer, len(kept) - 1)] += attention.kept(layout.layout)
    saved = [size - weights for size, weights in zip(tally.layers, kept, strict=True)]
    return _Pass(saved, tally.outside, max(forward, backward) - after, layout.asked)


class _Tally:
    """Bytes that the autograd graph keeps, by decoder layer."""

    def __init__(self, model: nn.Module, layers: int) -> None:
        self.layers, self.outside = [0.0] * max(1, layers), 0.0
        self._at: int | None = None
        held = [*model.parameters(), *model.buffers()]
        self._seen = {tensor.untyped_storage()._cdata for tensor in held}

    @contextmanager
    def watching(self, layers: nn.ModuleList) -> Iterator[None]:
        """Learn which layer computes."""
        hooks = []
        for number, layer in enumerate(layers):
            hooks.append(layer.register_forward_pre_hook(lambda *_, number=number: self._enter(number)))
            hooks.append(layer.register_forward_hook(lambda *_: self._enter(None)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, number: int | None) -> None:
        self._at = number

    def pack(self, tensor: Tensor) -> Tensor:
        """Count what is saved, each storage once."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            if self._at is None:
                self.outside += storage.nbytes()
            else:
                self.layers[self._at] += storage.nbytes()
        return tensor
