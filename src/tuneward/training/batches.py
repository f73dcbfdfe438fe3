"""Batches: from tokenised rows to packed windows of whole documents, in an order that the seed fixes.

Place on the road: after ``rows``, before the loop. A *window* is what passes through the model at once; a *step* is the
windows of one optimizer step. The course of a run is a pure function of the rows' lengths, the settings and the seed,
so a number of steps done is a full cursor. Knows no model and no loss.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tuneward.digests import digest_bytes
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.rows import IGNORED, Row

#: Windows are filled up to a multiple of this many tokens. For every new shape a CPU's product makes new code, in
#: milliseconds and hundreds of kilobytes (docs/performance.md, "Shapes"); so few shapes come again and again.
ROUND_TOKENS = 64


@dataclass(frozen=True)
class Step:
    """The rows of one optimizer step.

    Attributes:
        windows: indices of the rows, window by window.
        tokens: tokens of all windows.
        trained: learned tokens of all windows.
        weight: what the step's summed loss is divided by: learned tokens, pairs or answers, as the objective counts.
        ends_epoch: whether it is the last of an epoch.
    """

    windows: tuple[tuple[int, ...], ...]
    tokens: int
    trained: int
    weight: float
    ends_epoch: bool = False


def learned_tokens(row: Row) -> float:
    """The weight of a row whose every learned token counts alike."""
    return row.trained


def plan_steps(
    rows: Sequence[Row],
    *,
    epochs: float,
    batch_tokens: int,
    window_tokens: int,
    seed: int,
    batch_rows: int | None = None,
    weigh: Callable[[Row], float] = learned_tokens,
    among: Sequence[int] | None = None,
) -> list[Step]:
    """The whole course of a run: whole rows, each epoch in an order of its own, none cut and none left out.

    A step takes rows as long as they fit into ``batch_tokens``. They are dealt over as few windows of at most
    ``window_tokens`` as will do, of about the same size: the widest one sets a run's memory. A row longer than either
    has one to itself. An epoch's last step is as short as what is left.

    Args:
        rows: what is trained on.
        epochs: how often each is seen; fractions round up to whole rows.
        batch_tokens: room of a step, in tokens.
        window_tokens: room of a window, in tokens.
        seed: of the order.
        batch_rows: rows of a step; when given, ``batch_tokens`` does not count.
        weigh: what a row adds to its step's weight.
        among: numbers of the rows that take part; all when None.
    """
    sizes, trained, weights = zip(*((row.size, row.trained, weigh(row)) for row in rows), strict=True)
    steps: list[Step] = []
    for order in _orders(range(len(rows)) if among is None else among, epochs, seed):
        if batch_rows is None:
            batches = _fill(order, sizes, batch_tokens)
        else:
            batches = (order[at : at + batch_rows] for at in range(0, len(order), batch_rows))
        for batch in batches:
            windows = tuple(tuple(window) for window in _balance(batch, sizes, window_tokens))
            tokens, learned, weight = (sum(part[i] for i in batch) for part in (sizes, trained, weights))
            steps.append(Step(windows, tokens, learned, weight))
        steps[-1] = replace(steps[-1], ends_epoch=True)
    return steps


def fill_windows(sizes: Sequence[int], window_tokens: int) -> Iterator[list[int]]:
    """Numbers of rows of these sizes, each once and in order, window by window."""
    yield from _fill(range(len(sizes)), sizes, window_tokens)


def _orders(rows: Sequence[int], epochs: float, seed: int) -> Iterator[list[int]]:
    """The rows' order in each epoch; the last may hold fewer."""
    left = math.ceil(len(rows) * epochs - 1e-9)
    epoch = 0
    while left > 0:
        # by digest and not by a generator: no library's next version may change what a seed means
        order = sorted(rows, key=lambda index: digest_bytes(f"{seed}/{epoch}/{index}".encode()))
        yield order[:left]
        left -= len(rows)
        epoch += 1


def _fill(order: Sequence[int], sizes: Sequence[int], room: int) -> Iterator[list[int]]:
    batch: list[int] = []
    used = 0
    for index in order:
        if batch and used + sizes[index] > room:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += sizes[index]
    if batch:
        yield batch


def _balance(batch: Sequence[int], sizes: Sequence[int], room: int) -> list[list[int]]:
    """Deal a batch over windows, the longest rows first, each to the window that is emptiest; order is kept inside."""
    count = -(-sum(sizes[i] for i in batch) // room)
    while True:
        windows: list[list[int]] = [[] for _ in range(count)]
        used = [0] * count
        for index in sorted(batch, key=lambda i: -sizes[i]):
            emptiest = used.index(min(used))
            windows[emptiest].append(index)
            used[emptiest] += sizes[index]
        if all(size <= room or len(window) == 1 for size, window in zip(used, windows, strict=True)):
            place = {index: at for at, index in enumerate(batch)}
            return [sorted(window, key=place.__getitem__) for window in windows if window]
        count += 1


@dataclass(frozen=True, eq=False)
class Window:
    """Packed documents, ready for the model: the one batch type of every method.

    An *answer* is what a loss looks at as a whole: a document, or one branch of a row. Answers are numbered in the
    order in which they lie in the window; those of one row are neighbours.

    Attributes:
        ids: (1, tokens) int64.
        layout: who sees whom.
        places: (trained,) int64: positions whose next token is learned. A prompt's last position stands once for
            each of its branches.
        targets: (trained,) int64: that next token.
        owners: (trained,) int64: the answer that the target belongs to.
        ends: (answers,) int64: position of each answer's last token.
        rows: the rows inside.
    """

    ids: Tensor
    layout: PackedDocuments
    places: Tensor
    targets: Tensor
    owners: Tensor
    ends: Tensor
    rows: tuple[Row, ...]

    @classmethod
    def pack(
        cls, rows: Sequence[Row], *, device: str = "cpu", branches: int | None = None, round_to: int = 1
    ) -> "Window":
        """Lay ``rows`` one after another; the last token of an answer predicts nothing.

        Args:
            rows: what the window holds.
            device: where its tensors go.
            branches: how many of each row's branches, from the first on; None for all.
            round_to: a last document that nothing is learned from fills up to a multiple of so many tokens.
        """
        if branches is not None:
            rows = [replace(r, branches=r.branches[:branches], reference=r.reference[:branches]) for r in rows]
        packing = _Packing()
        for row in rows:
            packing.lay(row)
        packing.fill(-packing.tokens % round_to)
        places, targets, owners, ends = (
            torch.from_numpy(np.concatenate([np.empty(0, np.int64), *parts])).to(device)
            for parts in (packing.places, packing.targets, packing.owners, packing.ends)
        )
        ids = torch.from_numpy(np.concatenate(packing.ids).astype(np.int64))
        after = tuple(packing.after) if any(at is not None for at in packing.after) else ()
        return cls(
            ids=ids.unsqueeze(0).to(device),
            layout=PackedDocuments(tuple(part.size for part in packing.ids), after),
            places=places,
            targets=targets,
            owners=owners,
            ends=ends,
            rows=tuple(rows),
        )

    @property
    def records(self) -> tuple[str, ...]:
        """Ids of the records inside."""
        return tuple(row.id for row in self.rows)

    @property
    def answers(self) -> int:
        """Number of answers."""
        return self.ends.shape[0]

    def reference(self) -> Tensor:
        """Log-probability of each answer under the reference, in nats: (answers,) fp32."""
        return torch.tensor([x for row in self.rows for x in row.reference], device=self.ids.device)


class _Packing:
    def __init__(self) -> None:
        self.ids: list[np.ndarray] = []
        self.after: list[int | None] = []
        self.places: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []
        self.ends: list[np.ndarray] = []
        self.tokens = 0

    def lay(self, row: Row) -> None:
        start = self.tokens
        self._segment(row.ids, None)
        if not row.branches:
            (learned,) = np.nonzero(row.labels[1:] != IGNORED)
            self._answer(start + learned, row.labels[1:][learned], start + row.ids.size - 1)
            return
        head, last = len(self.ids) - 1, start + row.ids.size - 1
        for branch in row.branches:
            begin = self.tokens
            self._segment(branch, head)
            places = np.concatenate([[last], np.arange(begin, begin + branch.size - 1)])
            self._answer(places, branch, begin + branch.size - 1)

    def fill(self, tokens: int) -> None:
        """A document of so many tokens that no answer belongs to."""
        if tokens:
            self._segment(np.full(tokens, self.ids[-1][-1], dtype=np.int32), None)

    def _segment(self, ids: np.ndarray, after: int | None) -> None:
        self.ids.append(ids)
        self.after.append(after)
        self.tokens += ids.size

    def _answer(self, places: np.ndarray, targets: np.ndarray, end: int) -> None:
        number = len(self.ends)
        self.places.append(places.astype(np.int64))
        self.targets.append(targets.astype(np.int64))
        self.owners.append(np.full(places.size, number, dtype=np.int64))
        self.ends.append(np.array([end], dtype=np.int64))
