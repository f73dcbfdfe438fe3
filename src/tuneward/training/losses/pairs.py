"""What the losses of preference pairs share: figures to watch, and the supervised term."""

from torch import Tensor

from tuneward.training.batches import Window
from tuneward.training.losses.objective import answer_tokens

Figures = dict[str, tuple[Tensor, float]]


def pair_figures(rewards: Tensor, log_probs: Tensor) -> Figures:
    """Figures of a window's pairs.

    Args:
        rewards: (2 * pairs,) implicit or scored rewards, chosen and rejected in turn.
        log_probs: (2 * pairs,) log-probabilities of the answers.
    """
    chosen, rejected = rewards[0::2], rewards[1::2]
    pairs = float(chosen.shape[0])
    return {
        "accuracy": ((chosen > rejected).float().sum(), pairs),
        "margin": ((chosen - rejected).sum(), pairs),
        "reward_chosen": (chosen.sum(), pairs),
        "reward_rejected": (rejected.sum(), pairs),
        "log_prob_chosen": (log_probs[0::2].sum(), pairs),
        "log_prob_rejected": (log_probs[1::2].sum(), pairs),
    }


def supervised_term(log_probs: Tensor, window: Window) -> Tensor:
    """Mean cross-entropy of each chosen answer's tokens: (answers,) → (pairs,), in nats per token."""
    return -(log_probs / answer_tokens(window))[0::2]
