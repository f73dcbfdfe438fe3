"""The process's allocator, told to keep memory that a step gives back, because the next step takes it again.

Place on the road: the first lines of a training on a CPU, and its figure of memory at the end. By default glibc returns
every large block to the system and the kernel fills a new one with zeros page by page on each use: a fifth of a step's
time went there. Where the machine has jemalloc, a training is started with it (``modeling.machine``). Linux only;
elsewhere nothing happens. The setting holds for the whole process; no result depends on it.
"""

import ctypes
import resource
import sys
from pathlib import Path

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>

#: The largest value that glibc accepts: blocks below it come from the heap and stay there.
HEAP_BLOCK_BYTES = 32 * 2**20
HEAP_GROWTH_BYTES = 64 * 2**20


#: Steps between two returns of what is free to the system. Windows differ in size, so free memory slowly breaks into
#: pieces that nothing fits; a return costs one step's page faults.
TRIM_STEPS = 16


#: Asks jemalloc for it of all arenas.
_EVERY_ARENA = b"arena.4096.purge"  # MALLCTL_ARENAS_ALL, <jemalloc/jemalloc.h>


def return_freed_memory() -> None:
    """Give the system back every free page, also those between pages in use, where the allocator can be told."""
    if not sys.platform.startswith("linux"):
        return
    process = ctypes.CDLL(None)
    if (control := getattr(process, "mallctl", None)) is not None:
        control(_EVERY_ARENA, None, None, None, 0)
    elif (trim := getattr(process, "malloc_trim", None)) is not None:
        trim(0)


def keep_freed_memory() -> bool:
    """Set the process's allocator; returns whether it keeps what is freed."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        process = ctypes.CDLL(None)
        if hasattr(process, "mallctl"):
            return True  # told when the process was started
        mallopt = process.mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, HEAP_BLOCK_BYTES), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, HEAP_GROWTH_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)


def peak_bytes(device: str) -> int:
    """Highest memory so far: of the process on a CPU, of the allocator on a GPU."""
    return max(_highest, _marked(device))


def forget_peak(device: str) -> bool:
    """Let :func:`peak_since` count from here on, as :func:`peak_bytes` does not; returns whether that is possible."""
    global _highest
    _highest = max(_highest, _marked(device))
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak resident set becomes the present one
    except OSError:
        return False
    return True


def peak_since(device: str) -> int:
    """Highest memory since :func:`forget_peak`."""
    return _marked(device)


#: What was reached before a peak was forgotten, in bytes.
_highest = 0


def _marked(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
