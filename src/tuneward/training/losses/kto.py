"""KTO: single answers that were judged desirable or not, after Kahneman and Tversky's value of gains and losses.

With the log-ratio ``r = log p(answer) - log p_reference(answer)`` and the distance from the reference
``z0 = max(0, mean r of foreign answers)`` (arXiv 2402.01306, section 4, equation 7):

- desirable: ``w_d (1 - sigmoid(beta (r - z0)))``
- undesirable: ``w_u (1 - sigmoid(beta (z0 - r)))``

A foreign answer is another row's, put behind this row's prompt. z0 carries no gradient and is taken over the *whole*
optimizer step, so that a step of many windows is the same as one big batch; TRL takes it for each micro-batch.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from tuneward.domain.record import Form
from tuneward.training.batches import Window
from tuneward.training.losses.objective import Loss, Outputs, Summed, per_answer
from tuneward.training.rows import Row


@dataclass(kw_only=True)
class Kto:
    """See :class:`tuneward.training.losses.objective.Objective`.

    Attributes:
        beta: strength of the pull to the reference; larger stays nearer.
        desirable_weight: weight of desirable answers.
        undesirable_weight: weight of undesirable answers; the paper wants the sums of both weights over the rows to be
            between 1:1 and 4:3 (equation 8).
        distance: z0 of the step that was last surveyed, in nats.
    """

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    form: Form = "judged"
    needs_reference: bool = True
    unit: str = "per answer"
    branches: int = 1
    distance: float = field(default=0.0, init=False)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Nothing beside the model is trained."""
        return {}

    def weigh(self, row: Row) -> float:
        """Every answer counts alike; its weight is part of the loss."""
        return 1.0

    @torch.no_grad()
    def survey(self, passes: Iterator[tuple[Outputs, Window]], summed: Summed) -> None:
        """Measure the distance from the reference on the step's foreign answers."""
        total, count = 0.0, 0
        for outputs, window in passes:
            ratios = per_answer(outputs.log_probs(window), window) - window.reference()
            foreign = ratios[1::2]  # (rows,)
            total += float(foreign.sum(dtype=torch.float64))
            count += foreign.shape[0]
        total, rows = summed(total, count)
        mean = total / rows
        self.distance = mean if mean > 0 or math.isnan(mean) else 0.0

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """The summed loss of a window's own answers, one per row; ``survey`` has seen the step."""
        log_probs = per_answer(outputs.log_probs(window), window)  # (rows,)
        good = torch.tensor([row.desirable for row in window.rows], device=log_probs.device)
        rewards = self.beta * (log_probs - window.reference())
        gains = rewards - self.beta * self.distance
        losses = torch.where(
            good,
            self.desirable_weight * torch.sigmoid(-gains),
            self.undesirable_weight * torch.sigmoid(gains),
        )
        seen = rewards.detach()
        figures = {"distance": (torch.tensor(self.distance), 1.0)}
        for name, chosen in (("reward_desirable", seen[good]), ("reward_undesirable", seen[~good])):
            if chosen.shape[0]:
                figures[name] = (chosen.sum(), float(chosen.shape[0]))
        return Loss(losses.sum(), figures)
