"""Ranks: the starter of the processes that train one run together, and their end.

Place on the road: between the process that ``workflows.train`` starts and those that compute. Each gets torchrun's
environment; ``torchrun -m tuneward.training RUN_ID`` starts the same processes. Ours is there because torchrun makes 1
of every exit code, kills thirty seconds after a signal whatever is being written, and listens on every interface:
here the processes meet through a file and talk over the loopback device. Loads no torch on a machine without a GPU.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.machine import available_memory_bytes, cuda_devices, threads
from tuneward.modeling.worker import STOPPED
from tuneward.training.config import TrainingConfig

LOOK_SECONDS = 0.05

#: Seconds that the others have to end by themselves after one has ended: by agreement, or in trouble, when they may
#: wait for it in vain.
STOP_SECONDS, GRACE_SECONDS = 60.0, 10.0

#: What a process takes of its own once torch is loaded; started all the same, too many would end others than ours.
PROCESS_BYTES = 256 << 20

#: Names the file through which the processes find one another; without it torchrun's MASTER_ADDR and MASTER_PORT count.
MEETING_FILE = "TUNEWARD_MEETING_FILE"

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def processes_of(config: TrainingConfig) -> int:
    """How many processes train a run on this machine.

    Raises:
        TrainingError: memory does not hold so many, whatever they train.
    """
    if config.processes == "auto":
        return 1 if config.device == "cpu" else max(1, cuda_devices())
    count, room = config.processes, available_memory_bytes() // PROCESS_BYTES
    if count > max(1, room):
        told = (
            f"memory holds {room} processes of {PROCESS_BYTES >> 20} MiB, before a base is loaded; asked for: {count}"
        )
        cure = "set it to the number of devices, or to auto"
        raise TrainingError(Fault("TW-TRAIN-006", told, "training.processes", cure))
    return count


def run_ranks(command: Sequence[str], *, count: int, folder: Path, stop: Callable[[], bool]) -> int:
    """Start ``count`` processes, follow them to their end and leave none behind.

    What rank 0 writes goes where this process's output goes; the others' standard error goes into
    ``process.rank1.log`` and so on in ``folder``.

    Args:
        command: of each process.
        count: how many.
        folder: the run's.
        stop: once True, every process is asked to stop at a checkpoint.

    Returns:
        The exit code: of the process that ended first with another than 0; negative where a signal killed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranks: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="tuneward-") as place:
        try:
            for rank in range(count):
                ranks.append(_start(command, rank=rank, count=count, folder=folder, meeting=Path(place) / "meeting"))
            return _follow(ranks, stop)
        finally:
            for process in ranks:
                if process.poll() is None:
                    process.kill()
                process.wait()


def _start(command: Sequence[str], *, rank: int, count: int, folder: Path, meeting: Path) -> subprocess.Popen[bytes]:
    environment = {
        "OMP_NUM_THREADS": str(max(1, threads() // count)),
        "GLOO_SOCKET_IFNAME": LOOPBACK,
        "NCCL_SOCKET_IFNAME": LOOPBACK,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        MEETING_FILE: str(meeting),
    }
    if rank == 0:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    with (folder / f"process.rank{rank}.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=environment)


def _follow(ranks: Sequence[subprocess.Popen[bytes]], stop: Callable[[], bool]) -> int:
    told = False
    while True:
        codes = [process.poll() for process in ranks]
        ended = next((code for code in codes if code), None)
        if ended is not None:
            break
        if all(code == 0 for code in codes):
            return 0
        if stop() and not told:
            told = True
            _tell(ranks, signal.SIGINT)
        time.sleep(LOOK_SECONDS)
    _tell(ranks, signal.SIGTERM)
    deadline = time.monotonic() + (STOP_SECONDS if ended == STOPPED else GRACE_SECONDS)
    while any(process.poll() is None for process in ranks) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    # one that was stopped before it listened ends as Python does: 1, or by the signal
    return STOPPED if told and ended in (1, -signal.SIGINT, -signal.SIGTERM) else ended


def _tell(ranks: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in ranks:
        if process.poll() is None:
            process.send_signal(number)
