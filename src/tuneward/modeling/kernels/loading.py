"""The compiled kernels: found, and checked against this CPU.

Place on the road: beneath the parts of training that have a kernel (attention, norms, gated units, loss head). They ask
:func:`fits` and keep their own way with PyTorch's operations for every other device, type and CPU. ``setup.py``
compiles the sources beside this file where the machine that installs has a C compiler. Knows no model and no autograd.
"""

import ctypes
import functools
import hashlib
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch  # first, so that the kernels share torch's threads (one OpenMP library a process)
from torch import Tensor

MODULE = "tuneward.modeling.kernels._compiled"

#: One entry per :func:`left_out` that is entered.
_left_out: list[None] = []


@functools.cache
def compiled() -> ctypes.CDLL | None:
    """The library, or None where none was built, or this CPU lacks AVX-512 with bf16 products."""
    found = importlib.util.find_spec(MODULE)
    if found is None or found.origin is None:
        return None
    log = logging.getLogger(__name__)
    try:
        library = ctypes.CDLL(found.origin)
        library.sources.restype = ctypes.c_char_p
        made_from = library.sources().decode("ascii")
    except (OSError, AttributeError) as problem:
        log.warning("kernels are left out, %s cannot be loaded: %s", found.origin, problem)
        return None
    if _sources() not in (made_from, None):
        log.warning("kernels are left out, %s was made from other sources: install anew", found.origin)
        return None
    return library if library.supported() else None


def _sources() -> str | None:
    """SHA-256 of the sources beside this file, as setup.py makes it; None where they were not installed."""
    files = sorted(Path(__file__).parent.glob("*.[ch]"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else None


def fits(*tensors: Tensor) -> bool:
    """Whether kernels take all of these: bf16 in this machine's memory, the last dimension dense."""
    return (
        all(t.dtype is torch.bfloat16 and t.device.type == "cpu" and t.stride(-1) == 1 for t in tensors)
        and not _left_out
        and compiled() is not None
    )


@contextmanager
def left_out() -> Iterator[None]:
    """Within it nothing fits, so that everything computes with PyTorch's operations; for who compares."""
    _left_out.append(None)
    try:
        yield
    finally:
        _left_out.pop()


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Where a tensor's values begin."""
    return ctypes.c_void_p(tensor.data_ptr())
