"""Decoder: continuous batching over any causal model of transformers.

Place on the road: the engine's scheduler drives it, and benchmarks and proofs call :func:`generate`. A step takes every
row's tokens that the model has not seen (one for a row that decodes, the prompt for a row that joined), packs them into
one call without padding, and gives logits for the last token of each row. Rows join and leave between steps. Knows no
sampling, no text and no requests: the caller appends the next token to ``row.ids``, or lets the row leave.
"""

import bisect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneward.errors import Fault, ModelError
from tuneward.modeling.adapter_bank import AdapterBank, LoadedAdapter
from tuneward.modeling.cache import CachedRow, KeyValueCache, Span, capacity_for
from tuneward.modeling.context import longest_row

#: Prompt tokens per step: few enough that rows which decode wait little, many enough for full matrix products.
PREFILL_TOKENS = 512
#: A shorter common beginning is computed again rather than copied.
SHARED_TOKENS = 32


#: In which no gradient is made.
Quiet = Callable[[], AbstractContextManager[None]]


class Answering(Protocol):
    """What gives logits: a model as ``base_model.load_base`` makes it, or what stands for one that lies in parts."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def config(self) -> Any:
        """As transformers made it."""

    def __call__(self, **inputs: Any) -> Any:
        """What transformers' model answers."""


@dataclass(eq=False)
class Row:
    """One answer in the making.

    Attributes:
        ids: prompt and answer so far; the caller appends.
        adapter: the adapter it goes through, or None.
        cached: its place in the cache.
    """

    ids: list[int]
    adapter: LoadedAdapter | None = None
    cached: CachedRow = field(default_factory=CachedRow)

    @property
    def pending(self) -> int:
        """Tokens that the model has not seen."""
        return len(self.ids) - self.cached.length


class Decoder:
    """Rows on one model.

    Args:
        model: as ``base_model.load_base`` gives it.
        bank: adapters on that model; None for none.
        prefill_tokens: most prompt tokens per step; one prompt may be spread over several steps.
        share_prefixes: rows copy the keys of a beginning that another row of the same adapter already has.
        quiet: in which the model is asked; ``torch.no_grad`` where what it makes meanwhile must serve training too.
    """

    def __init__(
        self,
        model: PreTrainedModel | Answering,
        *,
        bank: AdapterBank | None = None,
        prefill_tokens: int = PREFILL_TOKENS,
        share_prefixes: bool = True,
        quiet: Quiet = torch.inference_mode,
    ) -> None:
        self._model: Any = model
        self._bank = bank
        self._prefill_tokens, self._share, self._quiet = prefill_tokens, share_prefixes, quiet
        self._cache = KeyValueCache(model.device)
        self.rows: list[Row] = []
        row = self.join([0])
        self.step()
        self._token_bytes = self._cache.token_bytes
        self.leave(row)

    @property
    def cache_bytes(self) -> int:
        """Memory of all keys and values."""
        return self._cache.bytes

    def bytes_for(self, tokens: int) -> int:
        """Memory of the keys and values of a row with ``tokens`` tokens."""
        return capacity_for(tokens) * self._token_bytes

    def tokens_in(self, cache_bytes: int) -> int:
        """The longest row that memory of this size holds."""
        return cache_bytes // self._token_bytes * 4 // 5

    def join(self, ids: Sequence[int], *, adapter: LoadedAdapter | None = None) -> Row:
        """A row begins with the prompt ``ids`` (at least one)."""
        assert ids, "a row needs at least one token"
        row = Row(list(ids), adapter)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """The row ends; its memory is free."""
        self.rows.remove(row)
        with self._quiet():
            self._cache.leave(row.cached)

    def step(self) -> tuple[list[Row], Tensor]:
        """Run the model once over what it has not seen.

        Returns:
            The rows whose tokens it has now all seen, and their logits (rows, vocabulary) in the model's type.
        """
        with self._quiet():
            return self._step()

    def _step(self) -> tuple[list[Row], Tensor]:
        chosen = self._choose()
        if not chosen:
            return [], torch.empty(0, 0)
        tokens_of = {row.cached: (row, tokens) for row, tokens in chosen}
        layout, spans = self._cache.step(Span(row.cached, tokens) for row, tokens in chosen)
        ids: list[int] = []
        ends: list[int] = []
        done: list[Row] = []
        for span in spans:
            row, _ = tokens_of[span.row]
            ids += row.ids[span.row.length : span.row.length + span.tokens]
            if row.pending == span.tokens:
                ends.append(len(ids) - 1)
                done.append(row)
        device = self._model.device
        if self._bank is not None:
            self._bank.assign([(tokens_of[span.row][0].adapter, span.tokens) for span in spans])
        try:
            logits = self._model(
                input_ids=torch.tensor([ids], device=device),
                position_ids=layout.position_ids(),
                use_cache=False,
                layout=layout,
                logits_to_keep=torch.tensor(ends, dtype=torch.long, device=device),
            ).logits[0]  # (rows, vocabulary)
        finally:
            if self._bank is not None:
                self._bank.assign([])
        layout.commit()
        return done, logits

    def _choose(self) -> list[tuple[Row, int]]:
        """Rows and how many of their tokens this step takes: all that decode, and prompts while there is room."""
        chosen, room = [], self._prefill_tokens
        joining: list[Row] = []
        for row in self.rows:
            if row.pending == 1 and row.cached.length:
                chosen.append((row, 1))
            elif row.pending and room > 0:
                if self._share and not row.cached.length and self._borrow(row, joining):
                    continue
                tokens = min(row.pending, room)
                room -= tokens
                chosen.append((row, tokens))
                joining.append(row)
        return chosen

    def _borrow(self, row: Row, joining: Sequence[Row]) -> bool:
        """Copy the longest beginning that another row has; True if it is better to wait for one of this step's rows."""
        shared, donor = max(
            ((_common(row, other, other.cached.length), other) for other in self.rows if other is not row),
            key=lambda found: found[0],
            default=(0, row),
        )
        coming = max((_common(row, other, len(other.ids)) for other in joining), default=0)
        if coming >= shared + SHARED_TOKENS:
            return True
        if shared >= SHARED_TOKENS:
            self._cache.share(donor.cached, row.cached, shared)
        return False


def _common(row: Row, other: Row, limit: int) -> int:
    """Tokens at the beginning that ``row`` could take from ``other``; its last token must stay, for its logits."""
    limit = min(limit, len(row.ids) - 1)
    if limit < SHARED_TOKENS or row.adapter is not other.adapter or row.ids[:8] != other.ids[:8]:
        return 0
    return bisect.bisect_left(range(1, limit + 1), True, key=lambda n: row.ids[:n] != other.ids[:n])


def generate(
    model: PreTrainedModel | Answering,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    stop_ids: frozenset[int] = frozenset(),
    bank: AdapterBank | None = None,
    adapters: Sequence[LoadedAdapter | None] | None = None,
    max_rows: int = 64,
    quiet: Quiet = torch.inference_mode,
    agree: Callable[[list[int]], list[int]] = lambda tokens: tokens,
) -> list[list[int]]:
    """Greedy answers to ``prompts`` in their order, without the ids that end them.

    Args:
        model: as ``base_model.load_base`` gives it.
        prompts: token ids.
        max_tokens: most tokens per answer.
        stop_ids: ids that end an answer.
        bank: adapters on the model.
        adapters: adapter per prompt; None for the base everywhere.
        max_rows: rows at once.
        quiet: see :class:`Decoder`.
        agree: is given each step's tokens and says which are taken; processes that answer together take the same.
    """
    decoder = Decoder(model, bank=bank, quiet=quiet)
    answers: list[list[int]] = [[] for _ in prompts]
    waiting = list(range(len(prompts)))[::-1]
    running: dict[Row, int] = {}
    while waiting or running:
        while waiting and len(running) < max_rows:
            index = waiting.pop()
            row = decoder.join(prompts[index], adapter=adapters[index] if adapters is not None else None)
            running[row] = index
        rows, logits = decoder.step()
        tokens = agree(logits.max(dim=-1).indices.tolist() if rows else [])  # argmax is five times slower in bf16
        for row, token in zip(rows, tokens, strict=True):
            answer = answers[running[row]]
            if token not in stop_ids:
                answer.append(token)
                row.ids.append(token)
            if token in stop_ids or len(answer) == max_tokens:
                decoder.leave(row)
                del running[row]
    return answers


def context_tokens(model: PreTrainedModel | Answering) -> int:
    """Most tokens that a row may have; see :func:`tuneward.modeling.context.longest_row`.

    Raises:
        ModelError: the configuration names no limit.
    """
    limit = longest_row(model.config.get_text_config().to_dict())
    if limit <= 0:
        cure = "choose a base whose config.json has max_position_embeddings"
        raise ModelError(Fault("TW-SERV-001", "the base names no longest context", "config.json", cure))
    return limit
