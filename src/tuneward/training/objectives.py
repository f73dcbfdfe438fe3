"""Objectives by name: the one place where settings become a loss.

Place on the road: between ``config`` and the loop. To add a loss, write its file in ``losses/`` and its line here.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from tuneward.errors import Fault, TrainingError
from tuneward.training.config import PreferenceConfig, RewardConfig, TrainingConfig
from tuneward.training.losses.cross_entropy import CrossEntropy
from tuneward.training.losses.dpo import Dpo
from tuneward.training.losses.ipo import Ipo
from tuneward.training.losses.kto import Kto
from tuneward.training.losses.objective import Objective
from tuneward.training.losses.orpo import Orpo
from tuneward.training.losses.reward import Reward, new_score
from tuneward.training.losses.simpo import Simpo

#: ``training.preference.loss`` → its objective, whose fields are named as the settings that it reads.
PREFERENCES: dict[str, type[Dpo | Ipo | Simpo | Orpo | Kto]] = {
    "dpo": Dpo,
    "ipo": Ipo,
    "simpo": Simpo,
    "orpo": Orpo,
    "kto": Kto,
}

#: ``training.method`` → its objective, given the width of the model's hidden states and the device.
METHODS: dict[str, Callable[[TrainingConfig, int, str], Objective]] = {
    "pretrain": lambda config, hidden, device: CrossEntropy("document"),
    "sft": lambda config, hidden, device: CrossEntropy("conversation"),
    "dpo": lambda config, hidden, device: PREFERENCES[config.preference.loss](**_given(config.preference)),
    "reward": lambda config, hidden, device: Reward(
        score=new_score(hidden, seed=config.seed, device=device),
        margin=config.reward.margin,
        center=config.reward.center,
    ),
}


def make_objective(config: TrainingConfig, *, hidden: int, device: str = "cpu") -> Objective:
    """The objective that ``config`` asks for.

    Args:
        config: see :func:`check_objective`.
        hidden: width of the model's hidden states.
        device: where what the objective itself trains lives.
    """
    return METHODS[config.method](config, hidden, device)


def check_objective(config: TrainingConfig) -> None:
    """Refuse settings that would have no effect, before anything is loaded.

    Raises:
        TrainingError: all of them.
    """
    faults = []
    for section, method, left_out in (("preference", "dpo", PreferenceConfig()), ("reward", "reward", RewardConfig())):
        if config.method != method and getattr(config, section) != left_out:
            told, cure = f"{config.method} does not read it", f"leave it out, or set training.method to {method}"
            faults.append(Fault("TW-TRAIN-013", told, f"training.{section}", cure))
    if config.method == "dpo":
        loss = config.preference.loss
        unread = _given(config.preference).keys() - {field.name for field in fields(PREFERENCES[loss])}
        faults += [
            Fault("TW-TRAIN-013", f"{loss} does not read {name}", f"training.preference.{name}", "leave it out")
            for name in sorted(unread)
        ]
    if faults:
        raise TrainingError(faults)


def _given(config: PreferenceConfig) -> dict[str, Any]:
    """The settings of a loss that are not left to itself."""
    return config.model_dump(exclude_none=True, exclude={"loss"})
