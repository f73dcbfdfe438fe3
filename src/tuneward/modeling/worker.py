"""A worker: a process of ours that computes for another one, tells it so in JSON lines, and ends when that one ends.

Place on the road: the child's side of training and of export; ``workflows/child`` is the parent's. Knows neither what
is computed nor for whom. Loads no torch.
"""

import json
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TextIO

STOPPED = 130
PARENT_SECONDS = 0.5

Emit = Callable[[dict[str, Any]], None]


class Stop:
    """Whether the work shall end: a signal came, the parent is gone, or nobody reads the output.

    Args:
        at_once: called when it shall end, for work that leaves nothing to go on from.
    """

    def __init__(self, at_once: Callable[[], None] = lambda: None) -> None:
        self._asked = threading.Event()
        self._at_once = at_once

    def __call__(self) -> bool:
        """True once the work shall end."""
        return self._asked.is_set()

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        """End the work; fits ``signal.signal``."""
        self._asked.set()
        self._at_once()

    def within(self, seconds: float) -> bool:
        """Whether the end is asked for within ``seconds``."""
        return self._asked.wait(seconds)

    def watch(self) -> None:
        """Listen to signals, and to the parent's end."""
        signal.signal(signal.SIGINT, self.ask)
        signal.signal(signal.SIGTERM, self.ask)
        threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()

    def _watch_parent(self, parent: int) -> None:
        while not self._asked.wait(PARENT_SECONDS):
            if os.getppid() != parent:
                self.ask()


def line_writer(output: TextIO, stop: Stop) -> Emit:
    """A function that prints events as JSON lines, and asks ``stop`` for the end once nobody reads them."""

    def emit(event: dict[str, Any]) -> None:
        try:
            output.write(json.dumps(event) + "\n")
            output.flush()
        except BrokenPipeError:
            stop.ask()

    return emit
