"""State of a run as tensors: what a checkpoint holds, put together from all processes and taken apart again.

Place on the road: between the loop and ``checkpoint``. A value that lies in parts is made whole, so that a checkpoint
does not depend on how many processes wrote it. Knows no file.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tuneward.training.distributed import Group
from tuneward.training.optimizer import restore_state, state_of
from tuneward.training.trainable import Trainable

Parameters = Mapping[str, nn.Parameter]


def weights_of(parameters: Parameters, trainable: Trainable, group: Group) -> dict[str, Tensor]:
    """What is trained, whole; every process must ask, and rank 0 alone is answered."""
    return _whole({name: {f"adapter/{name}": p.detach()} for name, p in parameters.items()}, trainable, group)


def moments_of(
    optimizer: torch.optim.Optimizer, parameters: Parameters, trainable: Trainable, group: Group
) -> dict[str, Tensor]:
    """What the optimizer knows, whole; see :func:`weights_of`."""
    known = {
        name: {f"optimizer/{kind}/{name}": value for kind, value in state_of(optimizer, parameter).items()}
        for name, parameter in parameters.items()
    }
    return _whole(known, trainable, group)


def _whole(parts: Mapping[str, Mapping[str, Tensor]], trainable: Trainable, group: Group) -> dict[str, Tensor]:
    found = {}
    for name, values in parts.items():
        for key, value in values.items():
            whole = trainable.whole(name, value) if name in trainable.shards else value
            if group.rank == 0:
                found[key] = whole if whole is value else whole.cpu()
    return found


@torch.no_grad()
def put_weights(tensors: Mapping[str, Tensor], parameters: Parameters, trainable: Trainable) -> None:
    """Inverse of :func:`weights_of`."""
    for name, parameter in parameters.items():
        parameter.copy_(_part(name, tensors[f"adapter/{name}"], trainable))
    trainable.publish()


def put_moments(
    tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, parameters: Parameters, trainable: Trainable
) -> None:
    """Inverse of :func:`moments_of`."""
    known: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, kind, name = key.split("/", 2)
            known.setdefault(name, {})[kind] = _part(name, value, trainable)
    for name, values in known.items():
        restore_state(optimizer, parameters[name], values)


def _part(name: str, value: Tensor, trainable: Trainable) -> Tensor:
    return trainable.part(name, value) if name in trainable.shards else value


def random_of(device: str) -> dict[str, Tensor]:
    """State of this process's generators, which dropout and noise draw from."""
    states = {"random": torch.get_rng_state()}
    if device.startswith("cuda"):
        states["random_cuda"] = torch.cuda.get_rng_state(device)
    return states


def gather_random(states: Mapping[str, Tensor], group: Group) -> dict[str, Tensor]:
    """Those of all processes."""
    found: dict[str, Tensor] = {}
    for rank, own in enumerate(group.gather(dict(states))):
        found |= {f"{name}/{rank}" if rank else name: state for name, state in own.items()}
    return found


def put_random(tensors: Mapping[str, Tensor], group: Group, device: str, *, seed: int) -> None:
    """Inverse of both; a process that was not there before begins at ``seed``."""
    own = f"/{group.rank}" if group.rank else ""
    if f"random{own}" not in tensors:
        torch.manual_seed(seed + group.rank)
        return
    torch.set_rng_state(tensors[f"random{own}"])
    if (state_of_device := tensors.get(f"random_cuda{own}")) is not None:
        torch.cuda.set_rng_state(state_of_device, device)
