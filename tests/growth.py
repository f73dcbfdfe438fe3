"""Growth: how much longer four times as much takes, for tests that say that work is linear.

No time is asserted, only the ratio of two: linear work takes 4 times as long, quadratic 16 times, and ``LINEAR`` lies
between. Seconds are those of this thread's processor, the least of several runs, so that neighbours on the machine do
not matter; below a millisecond the clock is too coarse, and nothing is held against whoever is that fast.
"""

import time
from collections.abc import Callable
from typing import Any

TIMES = 4
LINEAR = 10.0
_RUNS = 3
_LEAST_SECONDS = 0.001


def slowdown(work: Callable[[Any], object], small: Any, large: Any) -> float:
    """Seconds of ``large`` by those of ``small``, which is a quarter of it; generators are run to their end."""
    least_small = least_large = ratio = float("inf")
    for _ in range(_RUNS):
        least_small = min(least_small, _seconds(work, small))
        least_large = min(least_large, _seconds(work, large))
        ratio = least_large / max(least_small, _LEAST_SECONDS)
        if ratio < LINEAR / 2:
            break
    return ratio


def slowdown_of_text(work: Callable[[str], object], piece: str, *, characters: int = 32_000) -> float:
    """The same for a text that says ``piece`` over and over, ``characters`` long and four times as long."""
    large = (piece * (TIMES * characters // len(piece) + 1))[: TIMES * characters]
    return slowdown(work, large[:characters], large)


def _seconds(work: Callable[[Any], object], given: Any) -> float:
    start = time.thread_time()
    result = work(given)
    if hasattr(result, "__next__"):
        for _ in result:
            pass
    return time.thread_time() - start
