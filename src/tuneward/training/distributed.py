"""The group: the processes that train one run together, or the one that trains alone.

Place on the road: under the loop, which deals a step's rows over the group and adds up what each made of them. Each
window's loss is divided by the whole step's weight, so gradients of the group are *sums*. Who starts the processes is
``ranks``'s affair or torchrun's: both say it in the environment (RANK, WORLD_SIZE, LOCAL_RANK). Knows no model and no
loss; how a model is cut into shards is ``sharding``'s.
"""

import heapq
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tuneward.errors import Fault, MachineError
from tuneward.training.optimizer import clip_gradients
from tuneward.training.ranks import MEETING_FILE

#: How long a process waits for another one, which may read rows or write a checkpoint meanwhile. One that is dead is
#: noticed at once by its closed connection, and by the starter.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Share:
    """A window that this process passes through the model.

    Attributes:
        rows: numbers of its rows.
        counted: False for an empty pass, made only because the others' passes need this process's shards; it must add
            exactly zero.
    """

    rows: tuple[int, ...]
    counted: bool


class Group:
    """A group of one: the interface, and what it comes to where nobody else is.

    Attributes:
        rank: this process's number, 0-based; rank 0 alone speaks and writes.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def share(self, windows: Sequence[Sequence[int]], size_of: Callable[[int], int], *, room: int) -> Iterator[Share]:
        """What this process passes through the model of some windows; every process makes the same number of passes.

        Args:
            windows: numbers of rows, window by window.
            size_of: tokens of a row.
            room: of a window, in tokens.
        """
        for window in windows:
            yield Share(tuple(window), counted=True)

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank, for all of them; plain Python values."""
        return [value]

    def summed(self, *values: float) -> list[float]:
        """The sum of each value over the group, for all of them."""
        return [sum(parts) for parts in zip(*self.gather(values), strict=True)]

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        return flag

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make each gradient the sum over the group, of parameters that every process holds whole."""

    def clip(self, whole: Iterable[nn.Parameter], shards: Iterable[nn.Parameter], longest: float) -> Tensor:
        """Shorten all gradients together to Euclidean length ``longest``; returns the length before.

        Args:
            whole: parameters that every process holds whole, their gradients added up.
            shards: this process's parts of parameters that are held in parts.
            longest: the length.
        """
        return clip_gradients([*whole, *shards], longest)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Rank 0 goes through the block first, then all others at once: what it leaves in a file, they find."""
        yield

    def wait(self) -> None:
        """Until every process is here."""


#: The group of a run that one process trains.
ALONE = Group()


class Workers(Group):
    """Several processes, one for each device.

    Attributes:
        mesh: over which shards lie.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.device = device
        self.mesh: DeviceMesh = init_device_mesh(device, (self.size,))
        # plain values travel between processors, so that asking never waits for a device
        self._control = dist.new_group(backend="gloo", timeout=PATIENCE)

    def share(self, windows: Sequence[Sequence[int]], size_of: Callable[[int], int], *, room: int) -> Iterator[Share]:
        """See :class:`Group`: the rows are cut anew into windows, as even as they go."""
        rows = [row for window in windows for row in window]
        sizes = {row: size_of(row) for row in rows}
        shortest = min(rows, key=lambda row: sizes[row])
        for round_ in deal(rows, sizes, room=room, ranks=self.size):
            own = round_[self.rank]
            yield Share(own, counted=True) if own else Share((shortest,), counted=False)

    def gather(self, value: Any) -> list[Any]:
        """See :class:`Group`."""
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self._control)
        return found

    def any(self, flag: bool) -> bool:
        """See :class:`Group`."""
        asked = torch.tensor([int(flag)], dtype=torch.int32)
        dist.all_reduce(asked, op=dist.ReduceOp.MAX, group=self._control)
        return bool(asked)

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """See :class:`Group`; one without a gradient in any process keeps none."""
        known = list(parameters)
        if not known:
            return
        there = torch.tensor([float(p.grad is not None) for p in known], device=known[0].device)
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in known]
        flat = torch.cat([there, *parts])
        dist.all_reduce(flat)
        found, *sums = flat.split([len(known), *(p.numel() for p in known)])
        for parameter, total, count in zip(known, sums, found.tolist(), strict=True):
            parameter.grad = total.view_as(parameter).to(parameter.dtype) if count else None

    def clip(self, whole: Iterable[nn.Parameter], shards: Iterable[nn.Parameter], longest: float) -> Tensor:
        """See :class:`Group`."""
        held, parts = list(whole), list(shards)
        if not parts:
            return clip_gradients(held, longest)
        square = _norm(parts).square().to(parts[0].device)
        dist.all_reduce(square)
        norm = (square + _norm(held).square().to(square.device)).sqrt()
        nn.utils.clip_grads_with_norm_([*held, *parts], longest, norm)
        return norm

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """See :class:`Group`."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()

    def wait(self) -> None:
        """See :class:`Group`."""
        dist.barrier(group=self._control)


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def deal(rows: Sequence[int], sizes: Mapping[int, int], *, room: int, ranks: int) -> list[tuple[tuple[int, ...], ...]]:
    """Deal rows over processes that pass windows in step with each other.

    Rows go, longest first, to the window that holds least, so windows come out as even as they can; windows of like
    size make a round, because in each round all wait for the longest.

    Args:
        rows: their numbers, each once.
        sizes: tokens of each.
        room: of a window, in tokens; a longer row has one to itself.
        ranks: number of processes.

    Returns:
        Rounds, each of one window for each rank; empty where there are fewer rows than windows.
    """
    rounds = max(1, math.ceil(sum(sizes[row] for row in rows) / (room * ranks)))
    place = {row: at for at, row in enumerate(rows)}
    order = sorted(rows, key=lambda row: (-sizes[row], place[row]))
    while True:
        windows: list[list[int]] = [[] for _ in range(rounds * ranks)]
        emptiest = [(0, number) for number in range(len(windows))]  # a heap of (tokens, window)
        for row in order:
            tokens, number = emptiest[0]
            windows[number].append(row)
            heapq.heapreplace(emptiest, (tokens + sizes[row], number))
        if all(tokens <= room or len(windows[number]) == 1 for tokens, number in emptiest):
            break
        rounds += max(1, rounds // 32)
    widest = sorted(emptiest, key=lambda window: (-window[0], window[1]))
    even = [tuple(sorted(windows[number], key=place.__getitem__)) for _, number in widest]
    return [tuple(even[at : at + ranks]) for at in range(0, len(even), ranks)]


@contextmanager
def join(device: str, environment: Mapping[str, str] = os.environ) -> Iterator[Group]:
    """Be one of the group that the environment names, or alone.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (NCCL; each process takes the device of its LOCAL_RANK).
        environment: as torchrun or ``ranks`` fills it.

    Raises:
        MachineError: there are fewer devices than processes.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1 or "RANK" not in environment:
        yield ALONE
        return
    backend = "gloo"
    if device == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        local, there = int(environment["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            told = f"process {local + 1} has no device of its own: torch sees {there}"
            raise MachineError(Fault("TW-ENV-006", told, "training.processes", f"set it to {there}, or to auto"))
        torch.cuda.set_device(local)
    meeting = environment.get(MEETING_FILE)
    dist.init_process_group(
        backend,
        init_method=f"file://{meeting}" if meeting else "env://",
        rank=int(environment["RANK"]),
        world_size=int(environment["WORLD_SIZE"]),
    )
    workers = Workers(device)
    yield workers
    workers.wait()
    dist.destroy_process_group()
