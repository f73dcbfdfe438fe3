"""Likelihood: how probable a model finds what rows teach, one figure a row.

Place on the road: handed into ``data.dataset.build`` where ``data.quality.perplexity`` asks which answers the base
finds absurd. Knows token ids and labels, no texts.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneward.modeling.base_model import OutputHead, hidden_states
from tuneward.modeling.packed import PackedDocuments

_WINDOW: Final = 2048
_HEAD_ROWS: Final = 512
_MASKED: Final = -100

#: Token ids of a row, and labels of the same length that are -100 where nothing is learned.
Row = tuple[Sequence[int], Sequence[int]]


@torch.inference_mode()
def losses(model: PreTrainedModel, rows: Sequence[Row]) -> list[float]:
    """Mean negative log-probability in nats of each row's learned tokens; NaN where a row has none.

    Rows are packed into windows of 2,048 tokens (a longer row has one of its own), and no row sees another: the figure
    of a row does not depend on its neighbours.
    """
    head = OutputHead.of(model)
    told: list[float] = []
    window: list[Row] = []
    for row in [*rows, None]:
        if window and (row is None or sum(len(ids) for ids, _ in window) + len(row[0]) > _WINDOW):
            told += _window(model, head, window)
            window = []
        if row is not None:
            window.append(row)
    return told


def _window(model: PreTrainedModel, head: OutputHead, rows: Sequence[Row]) -> list[float]:
    device = model.device
    ids = torch.tensor([[token for own, _ in rows for token in own]], device=device)  # (1, tokens)
    hidden = hidden_states(model, ids, PackedDocuments(tuple(len(own) for own, _ in rows)))[0]
    places, targets, owners, start = list[int](), list[int](), list[int](), 0
    for number, (own, labels) in enumerate(rows):
        for place in range(1, len(own)):
            if labels[place] != _MASKED:
                places.append(start + place - 1)  # the state before a token predicts it
                targets.append(labels[place])
                owners.append(number)
        start += len(own)
    sums, counts = torch.zeros(len(rows), dtype=torch.float64), torch.zeros(len(rows), dtype=torch.float64)
    for begin in range(0, len(places), _HEAD_ROWS):
        part = slice(begin, begin + _HEAD_ROWS)
        logits = head.logits(hidden[torch.tensor(places[part], device=device)]).float()
        wanted: Tensor = torch.tensor(targets[part], device=device)
        lost = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double().cpu()
        owner = torch.tensor(owners[part])
        sums.index_add_(0, owner, lost)
        counts.index_add_(0, owner, torch.ones_like(lost))
    return [s / n if n else math.nan for s, n in zip(sums.tolist(), counts.tolist(), strict=True)]
