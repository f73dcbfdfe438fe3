"""The optimizer: AdamW in fp32, its parameter groups, the course of the learning rate, the longest gradient.

Place on the road: the end of each step. AdamW: arXiv 1711.05101. Knows neither model nor data.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tuneward.training.config import TrainingConfig

#: Share of the highest learning rate that the cosine ends at.
LAST_SHARE = 0.1


def make_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    known = list(parameters)
    groups = [
        {"params": [p for p in known if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in known if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def learning_rate(step: int, *, steps: int, config: TrainingConfig) -> float:
    """Learning rate of a step.

    Args:
        step: 0-based.
        steps: of the whole run.
        config: highest rate, schedule and share of warm-up.

    Returns:
        ``learning_rate * (step + 1) / (warm + 1)`` while warming up, then the schedule.
    """
    warm = min(math.ceil(steps * config.warmup_fraction), steps - 1)
    if step < warm:
        return config.learning_rate * (step + 1) / (warm + 1)
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warm) / max(1, steps - warm)
    return config.learning_rate * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> Tensor:
    """Shorten all gradients together to Euclidean length ``longest``; returns the length before."""
    return nn.utils.clip_grad_norm_(parameters, longest, error_if_nonfinite=False)
