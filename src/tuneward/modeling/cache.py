"""Key/value cache of the decoder: rows that come, grow and go, and attention over them.

Place on the road: beneath ``generate``, in the engine only. Rows of like size lie together in a *lane*; each lane is
one tensor per layer in which the rows fill the first slots without a hole. So a decoding step attends with two matrix
products per lane and copies no key. A row that outgrows its lane moves to the next; a row that leaves gives its slot
to the last one. Knows nothing of tokens, adapters or architectures: sizes are learnt from what the layers bring.

Law: slots and positions that hold no token of a row are finite, so that a weight of zero makes them vanish; what a row
computes never depends on who stands beside it, but for the order of floating-point sums.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tuneward.modeling.attention import Scoring

#: Slots are added in this many; a lane's tensors never hold more than this many unused slots for long.
SLOT_STEP = 8
#: Rows of queries per block of a prompt, as in ``attention``: half the square of scores is never computed.
BLOCK_ROWS = 256


@dataclass(eq=False)
class CachedRow:
    """One row's place.

    Attributes:
        length: tokens whose keys and values are kept.
        capacity: tokens for which its lane has room; 0 while the row is nowhere.
        slot: its index in the lane.
    """

    length: int = 0
    capacity: int = 0
    slot: int = -1


@dataclass
class _Store:
    keys: Tensor  # (slots, kv_heads, capacity, head_dim)
    values: Tensor


@dataclass
class _Lane:
    capacity: int
    rows: list[CachedRow] = field(default_factory=list)
    stores: dict[int, _Store] = field(default_factory=dict)  # by layer

    def store(self, layer: int, key: Tensor, value: Tensor) -> _Store:
        """The layer's tensors, grown to hold every row; ``key`` and ``value`` (1, kv_heads, tokens, head_dim)."""
        known = self.stores.get(layer)
        if known is not None and known.keys.shape[0] >= len(self.rows):
            return known
        slots = -(-len(self.rows) // SLOT_STEP) * SLOT_STEP
        grown = _Store(*(t.new_zeros(slots, t.shape[1], self.capacity, t.shape[3]) for t in (key, value)))
        if known is not None:
            held = known.keys.shape[0]
            grown.keys[:held], grown.values[:held] = known.keys, known.values
        self.stores[layer] = grown
        return grown

    def shrink(self) -> None:
        """Give back slots when more than two steps of them are unused."""
        needed = -(-len(self.rows) // SLOT_STEP) * SLOT_STEP
        for store in self.stores.values():
            if store.keys.shape[0] > needed + SLOT_STEP:
                store.keys, store.values = store.keys[:needed].clone(), store.values[:needed].clone()


def capacity_for(tokens: int) -> int:
    """The lane for a row of ``tokens``: 64, 80, 96, 112, 128, 160, 192…; a long row leaves at most a fifth unused.

    Lanes are read whole, unused room included: oneDNN multiplies a batch in bf16 without copying it only if it lies
    without gaps, and the copy costs more than the room.
    """
    octave = 64
    while octave * 2 < tokens:
        octave *= 2
    quarter = octave // 4
    return max(octave, -(-tokens // quarter) * quarter)


@dataclass(frozen=True)
class Span:
    """Tokens of one row in one step.

    Attributes:
        row: whose they are.
        tokens: how many; they stand at positions ``row.length`` and after.
    """

    row: CachedRow
    tokens: int


class KeyValueCache:
    """All rows' keys and values.

    Args:
        device: where the model computes.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._lanes: dict[int, _Lane] = {}

    def step(self, spans: Iterable[Span]) -> tuple["CacheStep", list[Span]]:
        """Make room for ``spans`` and fix their order in the call: decoding rows first, lane by lane.

        Returns:
            The layout for ``model(..., layout=…)``, and the spans in the order in which their tokens must be given.
            After the call to the model, :meth:`CacheStep.commit` makes the tokens part of their rows.
        """
        spans = list(spans)
        for span in spans:
            self._make_room(span.row, span.row.length + span.tokens)
        decoding = [s for s in spans if s.tokens == 1 and s.row.length]
        decoding.sort(key=lambda s: (s.row.capacity, s.row.slot))
        ordered = decoding + [s for s in spans if not (s.tokens == 1 and s.row.length)]
        return CacheStep(self._lanes, ordered, len(decoding), self._device), ordered

    def leave(self, row: CachedRow) -> None:
        """Forget ``row`` and free its slot; harmless for a row that is nowhere."""
        lane = self._lanes.get(row.capacity)
        if lane is None or row.slot < 0:
            return
        last = lane.rows.pop()
        for store in lane.stores.values():
            for tensor in (store.keys, store.values):
                written = last.slot < tensor.shape[0]
                if last is not row and written:
                    tensor[row.slot] = tensor[last.slot]
                if written or row.slot < tensor.shape[0]:
                    tensor[last.slot if written else row.slot] = 0
        if last is not row:
            last.slot = row.slot
            lane.rows[row.slot] = last
        if lane.rows:
            lane.shrink()
        else:
            del self._lanes[lane.capacity]
        row.length, row.capacity, row.slot = 0, 0, -1

    def share(self, donor: CachedRow, row: CachedRow, tokens: int) -> None:
        """Give ``row``, which holds nothing yet, a copy of the first ``tokens`` tokens of ``donor``."""
        assert row.length == 0
        assert tokens <= donor.length
        self._make_room(row, tokens + 1)
        source, target = self._lanes[donor.capacity], self._lanes[row.capacity]
        for layer, store in source.stores.items():
            _copy(store, donor.slot, target.store(layer, store.keys, store.values), row.slot, tokens)
        row.length = tokens

    @property
    def bytes(self) -> int:
        """Memory that the cache holds, in bytes; may be asked from any thread while another one steps."""
        stores = [store for lane in list(self._lanes.values()) for store in list(lane.stores.values())]
        tensors = (t for store in stores for t in (store.keys, store.values))
        return sum(t.numel() * t.element_size() for t in tensors)

    @property
    def token_bytes(self) -> int:
        """Memory of one token in all layers; 0 while the cache is empty."""
        stores = [store for lane in self._lanes.values() for store in lane.stores.values()]
        layers = {id(t): t[0, :, 0] for store in stores for t in (store.keys, store.values)}.values()
        return sum(t.numel() * t.element_size() for t in layers) // max(1, len(self._lanes))

    def _make_room(self, row: CachedRow, tokens: int) -> None:
        if tokens <= row.capacity:
            return
        kept, before = CachedRow(row.length, row.capacity, row.slot), self._lanes.get(row.capacity)
        capacity = capacity_for(tokens)
        lane = self._lanes.setdefault(capacity, _Lane(capacity))
        row.capacity, row.slot = capacity, len(lane.rows)
        lane.rows.append(row)
        if before is not None:
            for layer, store in before.stores.items():
                _copy(store, kept.slot, lane.store(layer, store.keys, store.values), row.slot, kept.length)
            before.rows[kept.slot] = kept
            self.leave(kept)


def _copy(source: _Store, from_slot: int, target: _Store, to_slot: int, tokens: int) -> None:
    target.keys[to_slot, :, :tokens] = source.keys[from_slot, :, :tokens]
    target.values[to_slot, :, :tokens] = source.values[from_slot, :, :tokens]


@dataclass(frozen=True)
class _Group:
    """Decoding rows of one lane: tokens ``first`` to ``end`` of the call."""

    lane: _Lane
    first: int
    end: int
    slots: Tensor  # (rows,)
    positions: Tensor  # (rows,)
    dense: bool  # the rows are the lane's first slots, in order


class CacheStep:
    """The layout of one call: some rows decode one token, others bring (a part of) their prompt.

    See :class:`tuneward.modeling.attention.Layout`.
    """

    def __init__(self, lanes: dict[int, _Lane], spans: Sequence[Span], decoding: int, device: torch.device) -> None:
        self._lanes, self._spans, self._decoding, self._device = lanes, spans, decoding, device
        self._groups = list(_groups(lanes, spans[:decoding], device))
        # made once per call, not per layer
        self._biases: dict[tuple[object, ...], Tensor] = {}

    def position_ids(self) -> Tensor:
        """Position of each token in its row: (1, tokens)."""
        parts = [torch.arange(s.row.length, s.row.length + s.tokens) for s in self._spans]
        return torch.cat(parts).unsqueeze(0).to(self._device)

    def commit(self) -> None:
        """The model has seen the tokens: they belong to their rows now."""
        for span in self._spans:
            span.row.length += span.tokens

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        """See :class:`tuneward.modeling.attention.Layout`."""
        result = query.new_empty(query.shape[2], query.shape[1], value.shape[3])  # (tokens, heads, head_dim)
        for group in self._groups:
            store = group.lane.store(layer, key, value)
            here = slice(group.first, group.end)
            store.keys[group.slots, :, group.positions] = key[0, :, here].transpose(0, 1)
            store.values[group.slots, :, group.positions] = value[0, :, here].transpose(0, 1)
            rows: slice | Tensor = slice(group.end - group.first) if group.dense else group.slots
            count, heads = group.end - group.first, key.shape[1]
            queries = query[0, :, here].transpose(0, 1).reshape(count, heads, -1, query.shape[3])
            mixed = _mix(
                queries,
                store.keys[rows],
                store.values[rows],
                self._decoding_bias(group, scoring.window),
                scoring,
            )
            result[here] = mixed.reshape(count, -1, value.shape[3])
        first = self._decoding
        for span in self._spans[self._decoding :]:
            here = slice(first, first + span.tokens)
            store = self._lanes[span.row.capacity].store(layer, key, value)
            start, end = span.row.length, span.row.length + span.tokens
            keys, values = store.keys[span.row.slot], store.values[span.row.slot]  # (kv_heads, capacity, head_dim)
            keys[:, start:end], values[:, start:end] = key[0, :, here], value[0, :, here]
            for begin in range(start, end, BLOCK_ROWS):
                stop = min(begin + BLOCK_ROWS, end)
                seen = 0 if scoring.window is None else max(0, begin - scoring.window + 1)
                block = query[0, :, first + begin - start : first + stop - start]  # (heads, rows, head_dim)
                queries = block.reshape(key.shape[1], -1, block.shape[2])  # (kv_heads, group * rows, head_dim)
                bias = self._prompt_bias(stop - begin, stop - seen, scoring.window, query.shape[1] // key.shape[1])
                mixed = _mix(queries, keys[:, seen:stop], values[:, seen:stop], bias, scoring)
                result[first + begin - start : first + stop - start] = mixed.reshape(
                    query.shape[1], stop - begin, -1
                ).transpose(0, 1)
            first += span.tokens
        return result.unsqueeze(0)

    def _decoding_bias(self, group: _Group, window: int | None) -> Tensor:
        """(rows, 1, 1, capacity): minus infinity where a decoding row must not look."""
        place = ("decoding", group.lane.capacity, window)
        if place not in self._biases:
            distance = group.positions[:, None] - torch.arange(group.lane.capacity, device=self._device)
            self._biases[place] = _bias(distance, window)[:, None, None, :]
        return self._biases[place]

    def _prompt_bias(self, rows: int, columns: int, window: int | None, group: int) -> Tensor:
        """(group * rows, columns): minus infinity where a prompt's token must not look; the last row sees all."""
        place = (rows, columns, window, group)
        if place not in self._biases:
            every = torch.arange(columns, device=self._device)
            distance = every[columns - rows :, None] - every
            self._biases[place] = _bias(distance, window).repeat(group, 1)
        return self._biases[place]


def _bias(distance: Tensor, window: int | None) -> Tensor:
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(distance.shape, device=distance.device).masked_fill_(hidden, float("-inf"))


def _groups(lanes: dict[int, _Lane], spans: Sequence[Span], device: torch.device) -> Iterator[_Group]:
    first = 0
    while first < len(spans):
        capacity, end = spans[first].row.capacity, first
        while end < len(spans) and spans[end].row.capacity == capacity:
            end += 1
        rows = [s.row for s in spans[first:end]]
        yield _Group(
            lanes[capacity],
            first,
            end,
            torch.tensor([r.slot for r in rows], device=device),
            torch.tensor([r.length for r in rows], device=device),
            [r.slot for r in rows] == list(range(len(rows))),
        )
        first = end


def _mix(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scoring: Scoring) -> Tensor:
    """Softmax attention: scores scaled and summed up in fp32, probabilities in the values' type.

    Args:
        query: (…, kv_heads, rows, head_dim), the heads that share a key head stacked along the rows.
        keys: (…, kv_heads, columns, head_dim).
        values: (…, kv_heads, columns, head_dim).
        bias: 0 or minus infinity, fp32; broadcasts to (…, kv_heads, rows, columns).
        scoring: its scaling and softcap; the window is in ``bias``.
    """
    scores = torch.matmul(query, keys.transpose(-1, -2)).float()
    if scoring.softcap is None:
        scores = torch.add(bias, scores, alpha=scoring.scaling)
    else:
        scores = torch.tanh(scores * (scoring.scaling / scoring.softcap)).mul_(scoring.softcap).add_(bias)
    return torch.matmul(torch.softmax(scores, dim=-1).to(values.dtype), values)
