"""Interruptions: what ends a pass over windows before its last one, and what is said of it.

Place on the road: around every pass of the model: steps, surveys, held-out rows, the reference. Knows no loss.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from tuneward.errors import Fault, TrainingError


class Stopped(Exception):  # noqa: N818 - no error: somebody asked
    """The run was asked to stop within a pass."""


@contextmanager
def memory_explained(what: str, windows: Sequence[Sequence[int]]) -> Iterator[None]:
    """Turn running out of memory into a fault with its cure.

    Args:
        what: that is computed, such as ``a step of 512 tokens``.
        windows: numbers of the rows that it passes, window by window.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        out_of_memory = isinstance(error, torch.OutOfMemoryError | MemoryError) or "not enough memory" in str(error)
        if not out_of_memory:
            raise
        told = f"{what} in {len(windows)} windows did not fit"
        cure = "lower training.window_tokens, then `tuneward train --resume`: the same losses need less memory"
        if all(len(window) == 1 for window in windows):
            cure = "each of its windows is one row: leave out or split long rows, or take a machine with more memory"
        raise TrainingError(Fault("TW-TRAIN-006", told, "training.window_tokens", cure)) from error
