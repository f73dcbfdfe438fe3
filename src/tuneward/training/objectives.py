"""Objectives by name: the one place where settings become a loss.

Place on the road: between ``config`` and the loop. To add a loss, write its file in ``losses/`` and its line here.
"""

from collections.abc import Callable

from tuneward.errors import Fault, TrainingError
from tuneward.training.config import PreferenceConfig, TrainingConfig
from tuneward.training.losses.cross_entropy import CrossEntropy
from tuneward.training.losses.dpo import Dpo
from tuneward.training.losses.objective import Objective

#: ``training.preference.loss`` → its objective.
PREFERENCES: dict[str, Callable[[PreferenceConfig], Objective]] = {
    "dpo": lambda c: Dpo(beta=c.beta, label_smoothing=c.label_smoothing, sft_weight=c.sft_weight),
    "ipo": lambda c: Dpo(beta=c.beta, kind="ipo", sft_weight=c.sft_weight),
}

#: ``training.method`` → its objective.
METHODS: dict[str, Callable[[TrainingConfig], Objective]] = {
    "pretrain": lambda config: CrossEntropy("document"),
    "sft": lambda config: CrossEntropy("conversation"),
    "dpo": lambda config: PREFERENCES[config.preference.loss](config.preference),
}


def make_objective(config: TrainingConfig) -> Objective:
    """The objective that ``config`` asks for.

    Raises:
        TrainingError: settings that contradict one another.
    """
    if config.method == "pretrain" and config.loss_on != "all" and "loss_on" in config.model_fields_set:
        raise TrainingError(
            Fault("TW-TRAIN-013", "pretraining learns every token", "training.loss_on", "leave it out, or write all")
        )
    return METHODS[config.method](config)
