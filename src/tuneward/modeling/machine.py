"""The machine as training and inference see it: torch, devices, number formats, memory, disk.

Place on the road: asked by ``doctor``. torch is imported only when asked for.
"""

import ctypes.util
import importlib.metadata
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tuneward.errors import Fault, MachineError

#: Where a container sees its own limits.
CONTROL_GROUP = Path("/sys/fs/cgroup")

#: How often a thread of a product looks whether the others are done before it sleeps (GNU OpenMP's own unit). Its
#: default keeps it awake for milliseconds: beside other work, threads then wait for one another most of the time
#: (docs/performance.md, "Beside other work"). Users' own wait policy comes first.
SPINS = "10000"

#: jemalloc as Linux distributions name it, and what it is told (its manual, ``opt.dirty_decay_ms`` and after): never to
#: give pages back by itself, to keep large blocks with all others, and to cut even much larger free ones for a request.
JEMALLOC = "libjemalloc.so.2"
KEEPS = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0,lg_extent_max_active_fit:16"

#: A process that only starts takes a hundredth of this.
_TRIAL_SECONDS = 10

#: Where Linux shows a CUDA device to who may use it.
DEVICES = Path("/dev")

#: Where Linux lists the processor's instruction sets.
PROCESSOR = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes:
        torch: version, or None when torch cannot be imported.
        device: name of the first CUDA device, or ``cpu``.
        threads: threads that training and engine run on.
        native_bf16: whether the processor or device multiplies bf16 itself (AVX512-BF16, AMX, Arm bf16, CUDA ≥ 8.0).
        kernels: whether the compiled kernels run here; None where training would not use them.
        memory_bytes: memory that new processes can have now.
        disk_bytes: free bytes where the site lies.
    """

    torch: str | None
    device: str
    threads: int
    native_bf16: bool
    kernels: bool | None
    memory_bytes: int
    disk_bytes: int


def computing(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process that computes on the processor: ``environment`` and :data:`SPINS`."""
    own = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(environment)
    return dict(environment) if own else {**environment, "GOMP_SPINCOUNT": SPINS}


def with_jemalloc(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process that trains: with jemalloc, where the machine has it and nothing forbids it.

    Memory that a step frees and the next one takes breaks into fewer pieces there than in glibc (docs/performance.md,
    "The allocator"). What the user preloads or sets comes first.
    """
    if {"LD_PRELOAD", "MALLOC_CONF"} & set(environment) or not _has_jemalloc():
        return dict(environment)
    return {**environment, "LD_PRELOAD": JEMALLOC, "MALLOC_CONF": KEEPS}


@cache
def _has_jemalloc() -> bool:
    """Whether a process starts with it; a damaged one must keep no training from running."""
    if not sys.platform.startswith("linux") or ctypes.util.find_library("jemalloc") != JEMALLOC:
        return False
    asked = [sys.executable, "-I", "-S", "-c", "import ctypes; ctypes.CDLL(None).mallctl"]
    environment = {**os.environ, "LD_PRELOAD": JEMALLOC, "MALLOC_CONF": KEEPS}
    try:
        told = subprocess.run(asked, env=environment, capture_output=True, timeout=_TRIAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.returncode == 0


def threads() -> int:
    """Threads that a product should run on: OMP_NUM_THREADS, else the processors that this process may have.

    A container's share of time (Linux, admin-guide/cgroup-v2: ``cpu.max``) is rounded up to whole processors.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (CONTROL_GROUP / "cpu.max").read_text(encoding="ascii").split()
        return min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no limit is written `max`
        return count


def look(folder: Path) -> Machine:
    """Look at the machine; ``folder`` says whose disk is meant (its nearest existing parent counts)."""
    while not folder.exists():
        folder = folder.parent
    memory, disk = available_memory_bytes(), shutil.disk_usage(folder).free
    try:
        import torch
    except ImportError:
        return Machine(None, "cpu", threads(), False, None, memory, disk)
    from tuneward.modeling.kernels.loading import compiled

    cuda = torch.cuda.is_available()
    return Machine(
        torch=importlib.metadata.version("torch"),
        device=torch.cuda.get_device_name(0) if cuda else "cpu",
        threads=threads(),
        native_bf16=torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_multiplies_bf16(),
        kernels=compiled() is not None if not cuda and "avx512_bf16" in _instructions() else None,
        memory_bytes=memory,
        disk_bytes=disk,
    )


def choose_device(asked: str) -> Literal["cpu", "cuda"]:
    """The device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        MachineError: ``cuda`` is asked for and torch sees none.
    """
    if asked == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        cure = (
            "set `training.device` to `auto` or `cpu`, or install a driver and a torch with CUDA; see `tuneward doctor`"
        )
        raise MachineError(Fault("TW-ENV-004", "torch sees no CUDA device", "training.device", cure))
    return "cpu"


def cuda_devices() -> int:
    """Number of CUDA devices that a process may have; torch is loaded only where the kernel shows one."""
    if not any(DEVICES.glob("nvidia[0-9]*")):
        return 0
    import torch

    return torch.cuda.device_count()


def cpu_multiplies_bf16() -> bool:
    """Whether the processor lists a bf16 instruction set (Linux); False where it cannot be told.

    The one answer for ``doctor``, training and the engine.
    """
    return bool(_instructions() & {"avx512_bf16", "amx_bf16", "bf16"})


def _instructions() -> set[str]:
    """Words of the processor's description (Linux), its instruction sets among them."""
    try:
        return set(PROCESSOR.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()


def available_memory_bytes() -> int:
    """Memory that can be had without swapping: the kernel's estimate, bounded by a container's limit.

    What a container is said to use holds the files that it read and wrote; the kernel gives those pages back when
    memory is asked for (Linux, admin-guide/cgroup-v2: ``memory.stat``), so they count as free.
    """
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
        limit = (CONTROL_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((CONTROL_GROUP / "memory.current").read_text(encoding="ascii"))
        kinds = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text(encoding="ascii").splitlines())
        files = int(kinds.get("inactive_file", 0)) + int(kinds.get("active_file", 0))
        if limit != "max":
            available = min(available, int(limit) - used + files)
    except (OSError, ValueError):
        pass
    return available
