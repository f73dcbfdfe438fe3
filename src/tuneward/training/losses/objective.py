"""Objective: what a method minimises, as the loop sees it.

Place on the road: between ``batches`` and the loop. An objective turns a window and its hidden states into a *sum* over
what it counts; the loop divides by the whole step's weight, so that windows of unequal size weigh right and
accumulation cannot change the result. Knows no optimizer and no settings but its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tuneward.domain.record import Form
from tuneward.modeling.base_model import OutputHead
from tuneward.training.batches import Window
from tuneward.training.losses.head import token_log_probs
from tuneward.training.rows import Row


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the model computed for a window.

    Attributes:
        hidden: (tokens, hidden): the last hidden states, as the output head takes them.
        head: the output head.
        chunk_bytes: memory that a chunk of logits may take.
    """

    hidden: Tensor
    head: OutputHead
    chunk_bytes: int

    def log_probs(self, window: Window) -> Tensor:
        """Log-probability of every learned token, in nats: (trained,) fp32."""
        states = self.hidden[window.places]
        return token_log_probs(states, window.targets, self.head, chunk_bytes=self.chunk_bytes)


def per_answer(values: Tensor, window: Window) -> Tensor:
    """Sum of the learned tokens' values for each answer: (trained,) → (answers,)."""
    return torch.zeros(window.answers, dtype=values.dtype, device=values.device).index_add(0, window.owners, values)


def answer_tokens(window: Window) -> Tensor:
    """Learned tokens of each answer: (answers,) fp32."""
    return per_answer(torch.ones_like(window.owners, dtype=torch.float32), window)


@dataclass(frozen=True, eq=False)
class Loss:
    """What a window adds to its step.

    Attributes:
        total: scalar in fp32, the sum over what the objective counts; carries the gradient.
        figures: name → (sum, count) of what is worth watching, without gradient; the loop adds both over a step.
    """

    total: Tensor
    figures: Mapping[str, tuple[Tensor, float]] = field(default_factory=dict)


#: Figures of this process → their sums over all.
Summed = Callable[..., list[float]]


class Objective(Protocol):
    """A loss with its settings.

    Attributes:
        form: what a record is made into.
        needs_reference: whether rows must carry the reference's log-probabilities.
        unit: what the loss is a mean over, as the curve's axis names it.
        branches: of a row's branches, how many from the first on the backward pass is for; ``survey`` sees all.
        parameters: what the objective itself trains beside the model, such as a reward head; name → parameter.
    """

    @property
    def form(self) -> Form: ...  # noqa: D102
    @property
    def needs_reference(self) -> bool: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def branches(self) -> int: ...  # noqa: D102
    @property
    def parameters(self) -> Mapping[str, nn.Parameter]: ...  # noqa: D102

    def weigh(self, row: Row) -> float:
        """What a row adds to its step's weight."""

    def survey(self, passes: Iterator[tuple[Outputs, Window]], summed: Summed) -> None:
        """Look at a whole step before its first backward pass, where the loss needs a figure of the step (KTO).

        Args:
            passes: makes this process's windows of the step, one by one and without gradient, when iterated; costs
                nothing when not.
            summed: adds figures up over the processes that train together.
        """

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """The loss of one window."""
