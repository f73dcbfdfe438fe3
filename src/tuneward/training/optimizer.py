"""The optimizer: AdamW in its forms, its parameter groups, the course of the learning rate, the longest gradient.

Place on the road: the end of each step. AdamW: arXiv 1711.05101; moments in 8 bits: arXiv 2110.02861; moments that
leave a full GPU: arXiv 2305.14314, section 3. Knows neither model nor data.
"""

import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuneward.errors import Fault, MachineError
from tuneward.training.config import TrainingConfig

#: Share of the highest learning rate that the cosine ends at.
LAST_SHARE = 0.1

#: ``training.optimizer`` → bytes of state per trained parameter (8 bits: two moments and a scale per 256 of each).
STATE_BYTES = {"adamw": 8.0, "adamw_8bit": 2 + 8 / 256, "paged_adamw": 8.0, "paged_adamw_8bit": 2 + 8 / 256}

_Groups = list[dict[str, Any]]


def _adamw(groups: _Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, fused=True)


def _bitsandbytes(*, bits: int, paged: bool) -> Callable[[_Groups, TrainingConfig], torch.optim.Optimizer]:
    def make(groups: _Groups, config: TrainingConfig) -> torch.optim.Optimizer:
        from bitsandbytes.optim import AdamW

        made: torch.optim.Optimizer = AdamW(
            groups, lr=config.learning_rate, betas=config.betas, eps=config.eps, optim_bits=bits, is_paged=paged
        )
        return made

    return make


#: ``training.optimizer`` → how it is made.
OPTIMIZERS: dict[str, Callable[[_Groups, TrainingConfig], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw_8bit": _bitsandbytes(bits=8, paged=False),
    "paged_adamw": _bitsandbytes(bits=32, paged=True),
    "paged_adamw_8bit": _bitsandbytes(bits=8, paged=True),
}


def require_optimizer(config: TrainingConfig, device: str, *, processes: int = 1) -> None:
    """Refuse an optimizer that this machine does not have.

    Raises:
        MachineError: its package is not installed; it moves state between a GPU and memory and there is no GPU; or its
            8-bit blocks would lie across the parts that several processes hold.
    """
    if config.optimizer == "adamw":
        return
    faults = []
    if importlib.util.find_spec("bitsandbytes") is None:
        told, cure = f"{config.optimizer} needs bitsandbytes", "pip install 'tuneward[bitsandbytes]', or set adamw"
        faults.append(Fault("TW-ENV-005", told, "training.optimizer", cure))
    if config.optimizer.startswith("paged") and not device.startswith("cuda"):
        told, plain = f"{config.optimizer} pages between a GPU and memory", config.optimizer.removeprefix("paged_")
        cure = f"set {plain}, which computes the same on a {device}"
        faults.append(Fault("TW-TRAIN-043", told, "training.optimizer", cure))
    if config.optimizer.endswith("8bit") and processes > 1 and config.adapter.kind == "full":
        told = f"{config.optimizer} keeps scales of blocks, which {processes} processes would cut"
        cure = "set adamw, of whose moments each process holds its part only"
        faults.append(Fault("TW-TRAIN-043", told, "training.optimizer", cure))
    if faults:
        raise MachineError(faults)


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], config: TrainingConfig, *, embeddings: frozenset[str] = frozenset()
) -> torch.optim.Optimizer:
    """The optimizer that ``config`` names.

    Weight decay falls on matrices. Vectors (norms, biases, DoRA's magnitudes) and embeddings are left alone: a norm's
    scale has no reason to be small, and an embedding is decayed in each step, also where its token did not occur.

    Args:
        parameters: name → what is trained.
        config: kind, highest rate, betas, eps and weight decay.
        embeddings: names of parameters that are embeddings.
    """
    decayed = {name for name, p in parameters.items() if p.ndim >= 2 and name not in embeddings}
    groups: _Groups = [
        {"params": [p for name, p in parameters.items() if name in decayed], "weight_decay": config.weight_decay},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], config)


def embedding_names(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that are embeddings; a head tied to one is one."""
    return frozenset(
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        for name, _ in module.named_parameters(recurse=False)
    )


def state_of(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What the optimizer knows of a parameter, as tensors; tables that are the same for all are left out."""
    known = optimizer.state.get(parameter, {})
    return {
        kind: value if isinstance(value, Tensor) else torch.tensor(value)
        for kind, value in known.items()
        if not kind.startswith("qmap")
    }


def restore_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, known: Mapping[str, Tensor]) -> None:
    """Inverse of :func:`state_of`."""
    made: Any = optimizer
    if hasattr(made, "init_state"):  # bitsandbytes: its own buffers may be paged, so they are filled and not replaced
        for number, group in enumerate(made.param_groups):
            places = [i for i, p in enumerate(group["params"]) if p is parameter]
            for place in places:
                made.init_state(group, parameter, number, place)
    state = made.state[parameter]
    for kind, value in known.items():
        if isinstance(state.get(kind), Tensor):
            state[kind].copy_(value)
        elif isinstance(state.get(kind), int):
            state[kind] = int(value)
        else:
            state[kind] = value.to(parameter.device)


def learning_rate(step: int, *, steps: int, config: TrainingConfig) -> float:
    """Learning rate of a step.

    Args:
        step: 0-based.
        steps: of the whole run.
        config: highest rate, schedule and share of warm-up.

    Returns:
        ``learning_rate * (step + 1) / (warm + 1)`` while warming up, then the schedule: half a cosine down to a tenth,
        a line that would reach zero one step after the last, or constant.
    """
    warm = min(math.ceil(steps * config.warmup_fraction), steps - 1)
    if step < warm:
        return config.learning_rate * (step + 1) / (warm + 1)
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warm) / max(1, steps - warm)
    if config.schedule == "linear":
        return config.learning_rate * (1 - done)
    return config.learning_rate * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))


def clip_gradients(parameters: Iterable[nn.Parameter], longest: float) -> Tensor:
    """Shorten all gradients together to Euclidean length ``longest``; returns the length before."""
    return nn.utils.clip_grad_norm_(parameters, longest, error_if_nonfinite=False)
