"""Reward: a score for answers, learned from pairs by the model of Bradley and Terry.

``-log sigmoid(s_c - s_l - margin) + center (s_c + s_l)²`` with the scores of chosen (c) and rejected (l) answers
(arXiv 2203.02155, section 3.5, equation 1; the margin is that of arXiv 2307.09288, section 3.2.2, equation 2; the
centering, which fixes the scores' free constant, that of arXiv 2312.09244, equation 2). A score is the product of the
hidden state of an answer's last token with one trained vector. The vector is kept in fp32 and starts with the spread
``1 / sqrt(hidden + 1)`` (arXiv 2009.01325).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuneward.domain.record import Form
from tuneward.modeling.adapter_files import SCORE
from tuneward.training.batches import Window
from tuneward.training.losses.objective import Loss, Outputs, Summed
from tuneward.training.losses.pairs import pair_figures
from tuneward.training.rows import Row


@dataclass(frozen=True, kw_only=True)
class Reward:
    """See :class:`tuneward.training.losses.objective.Objective`.

    Attributes:
        score: (1, hidden) fp32, trained.
        margin: whether a row's margin counts.
        center: weight of the centering term.
    """

    score: nn.Parameter = field(repr=False)
    margin: bool = True
    center: float = 0.0
    form: Form = "pair"
    needs_reference: bool = False
    unit: str = "per pair"
    branches: int = 2

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The score's weights."""
        return {f"{SCORE}.weight": self.score}

    def weigh(self, row: Row) -> float:
        """Every pair counts alike."""
        return 1.0

    def survey(self, passes: Iterator[tuple[Outputs, Window]], summed: Summed) -> None:
        """Nothing needs to be known beforehand."""

    def scores(self, outputs: Outputs, window: Window) -> Tensor:
        """Score of each answer: (answers,) fp32."""
        return functional.linear(outputs.hidden[window.ends].float(), self.score)[:, 0]

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """The summed loss of a window's pairs."""
        scores = self.scores(outputs, window)
        chosen, rejected = scores[0::2], scores[1::2]
        wanted = torch.tensor([row.margin if self.margin else 0.0 for row in window.rows], device=scores.device)
        losses = -functional.logsigmoid(chosen - rejected - wanted)
        if self.center:
            losses = losses + self.center * (chosen + rejected).square()
        return Loss(losses.sum(), pair_figures(scores.detach()))


def new_score(hidden: int, *, seed: int, device: str = "cpu") -> nn.Parameter:
    """Start values of a score for states of width ``hidden``: (1, hidden) fp32, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.empty(1, hidden).normal_(std=1 / math.sqrt(hidden + 1), generator=generator)
    return nn.Parameter(start.to(device))
