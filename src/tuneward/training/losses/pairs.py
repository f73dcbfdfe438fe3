"""What the losses of preference pairs share: the way through a window, figures to watch, and the supervised term."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from tuneward.domain.record import Form
from tuneward.training.batches import Window
from tuneward.training.losses.objective import Loss, Outputs, Summed, answer_tokens, per_answer
from tuneward.training.rows import Row

Figures = dict[str, tuple[Tensor, float]]


@dataclass(frozen=True, kw_only=True)
class PairLoss(ABC):
    """A loss that looks at the log-probabilities of two answers to one prompt; see ``objective.Objective``.

    Attributes:
        sft_weight: weight of the chosen answers' mean cross-entropy, added to the loss; 0 for none.
    """

    sft_weight: float = 0.0
    form: Form = "pair"
    needs_reference: bool = False
    unit: str = "per pair"
    branches: int = 2

    @abstractmethod
    def losses(self, log_probs: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """The loss of each pair.

        Args:
            log_probs: (2 * pairs,) log-probability of each answer, chosen and rejected in turn.
            window: where they come from.

        Returns:
            (pairs,) losses without the supervised term, and (2 * pairs,) rewards: what the loss takes for the worth of
            an answer, whose order and distance the figures show.
        """

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Nothing beside the model is trained."""
        return {}

    def weigh(self, row: Row) -> float:
        """Every pair counts alike."""
        return 1.0

    def survey(self, passes: Iterator[tuple[Outputs, Window]], summed: Summed) -> None:  # noqa: B027 - no pair loss needs it
        """Nothing needs to be known beforehand."""

    def __call__(self, outputs: Outputs, window: Window) -> Loss:
        """The summed loss of a window's pairs."""
        log_probs = per_answer(outputs.log_probs(window), window)
        losses, rewards = self.losses(log_probs, window)
        figures = pair_figures(rewards.detach()) | {
            "log_prob_chosen": (log_probs.detach()[0::2].sum(), float(losses.shape[0])),
            "log_prob_rejected": (log_probs.detach()[1::2].sum(), float(losses.shape[0])),
        }
        total = losses.sum()
        if self.sft_weight:
            supervised = supervised_term(log_probs, window)
            total = total + self.sft_weight * supervised.sum()
            figures["sft_loss"] = (supervised.detach().sum(), float(supervised.shape[0]))
        return Loss(total, figures)


def pair_figures(rewards: Tensor) -> Figures:
    """Figures of a window's pairs.

    Args:
        rewards: (2 * pairs,) implicit or scored rewards, chosen and rejected in turn.
    """
    chosen, rejected = rewards[0::2], rewards[1::2]
    pairs = float(chosen.shape[0])
    return {
        "accuracy": ((chosen > rejected).float().sum(), pairs),
        "margin": ((chosen - rejected).sum(), pairs),
        "reward_chosen": (chosen.sum(), pairs),
        "reward_rejected": (rejected.sum(), pairs),
    }


def supervised_term(log_probs: Tensor, window: Window) -> Tensor:
    """Mean cross-entropy of each chosen answer's tokens: (answers,) → (pairs,), in nats per token."""
    return -(log_probs / answer_tokens(window))[0::2]
