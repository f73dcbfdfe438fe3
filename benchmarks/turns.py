"""Turns: two or more contenders, each in a process of its own, that compute one after another and never at once.

A shared machine's speed drifts by half within minutes, so only work done in turn can be compared; and peak memory is a
contender's own only if nobody else lives in its process. Knows no model.
"""

import multiprocessing
import os
import random
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuneward.modeling.machine import SPINS

RESAMPLES = 10_000


class Seat:
    """A contender's side: it says when it is ready, waits for its turn, and says what the turn took."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started = self._busy = 0.0

    def ready(self, **facts: Any) -> None:
        """Everything is loaded; ``facts`` are worth telling."""
        self._connection.send(("ready", facts))

    def wait(self) -> bool:
        """Sleep until the turn comes; False when the play is over. The clock of the turn starts when this returns."""
        going = bool(self._connection.recv())
        self._started, self._busy = time.perf_counter(), time.process_time()
        return going

    def done(self, *, before: tuple[float, float] = (0.0, 0.0), **figures: float) -> None:
        """The turn is over; its seconds are counted here.

        Args:
            before: seconds (of the clock, of the processor) that the turn's work took earlier.
            figures: what else the turn gave.
        """
        seconds, busy = time.perf_counter() - self._started, time.process_time() - self._busy
        self._connection.send(("done", {"seconds": seconds + before[0], "cpu_seconds": busy + before[1], **figures}))


Player = Callable[..., None]


def _sit(connection: Connection, player: Player, arguments: Mapping[str, Any]) -> None:
    try:
        player(Seat(connection), **arguments)
        connection.send(("left", {"peak_bytes": peak_bytes()}))
    except Exception:
        connection.send(("failed", traceback.format_exc()))


class Table:
    """Where contenders meet; a context that ends their processes."""

    def __init__(self) -> None:
        # before any process starts: a thread that waits for another must not keep it from running (docs/performance.md)
        if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
            os.environ["GOMP_SPINCOUNT"] = SPINS
        self._context = multiprocessing.get_context("spawn")
        self._players: dict[str, tuple[Any, Connection]] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *problem: object) -> None:
        for process, _ in self._players.values():
            process.terminate()
            process.join()

    def seat(
        self, name: str, player: Player, *, environment: Mapping[str, str] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Start a contender and wait until it is ready; returns what it says about itself.

        Args:
            name: of the contender.
            player: what it does, in a process of its own.
            environment: variables of that process over and above ours.
            arguments: of ``player``.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_sit, args=(theirs, player, arguments), daemon=True)
        before = dict(os.environ)
        os.environ.update(environment or {})
        try:
            process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()
        self._players[name] = process, ours
        self.facts[name] = self._hear(name, "ready")
        return self.facts[name]

    def turn(self, name: str) -> dict[str, float]:
        """Give ``name`` its next turn; the others sleep meanwhile."""
        self._players[name][1].send(True)
        return self._hear(name, "done")

    def close(self) -> None:
        """End the play: every contender leaves and tells its peak memory."""
        for name, (process, connection) in self._players.items():
            connection.send(False)
            self.peaks[name] = self._hear(name, "left")["peak_bytes"]
            process.join()

    def _hear(self, name: str, expected: str) -> dict[str, Any]:
        try:
            kind, said = self._players[name][1].recv()
        except EOFError:
            raise SystemExit(f"{name} died without a word; it may have been killed for its memory") from None
        if kind == "failed":
            raise SystemExit(f"{name} failed:\n{said}")
        assert kind == expected, f"{name} said {kind}, not {expected}"
        return said


def in_turn(table: Table, names: Sequence[str], turns: int, *, told: Callable[[int, Any], None]) -> list[Any]:
    """Play ``turns`` turns of each; who begins alternates, so that a drift falls on both sides."""
    played = []
    for number in range(turns):
        order = names if number % 2 == 0 else names[::-1]
        results = {name: table.turn(name) for name in order}
        played.append(results)
        told(number, results)
    return played


@dataclass(frozen=True)
class Ratio:
    """How many times as fast, over turns.

    Attributes:
        value: their seconds over ours for the same work, all turns together.
        low: lower end of the 95% interval (bootstrap over turns).
        high: its upper end.
        turns: number of turns.
    """

    value: float
    low: float
    high: float
    turns: int

    def __str__(self) -> str:
        return f"{self.value:.2f} (95% interval {self.low:.2f} to {self.high:.2f}, n = {self.turns} turns)"

    @classmethod
    def of(cls, theirs: Sequence[float], ours: Sequence[float]) -> "Ratio":
        """From seconds of paired turns over the same work."""
        pairs = list(zip(theirs, ours, strict=True))
        draw = random.Random(0)
        drawn = []
        for _ in range(RESAMPLES):
            again = draw.choices(pairs, k=len(pairs))
            drawn.append(sum(a for a, _ in again) / sum(b for _, b in again))
        drawn.sort()
        low, high = drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1]
        return cls(sum(theirs) / sum(ours), low, high, len(pairs))


@dataclass(frozen=True)
class Agreement:
    """Whether two loss curves over the same rows in the same order are the same but for rounding.

    Attributes:
        ours: our mean loss.
        theirs: the peer's.
        mean: mean difference, ours minus theirs.
        largest: largest difference of a step, without sign.
        band: largest mean difference that is called equal; a step may differ by five times as much.
    """

    ours: float
    theirs: float
    mean: float
    largest: float
    band: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float], *, band: float) -> "Agreement":
        """From two curves, step by step."""
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        largest = max(abs(d) for d in differences)
        return cls(statistics.fmean(ours), statistics.fmean(theirs), statistics.fmean(differences), largest, band)

    @property
    def holds(self) -> bool:
        """Whether both differences are inside the band."""
        return abs(self.mean) <= self.band and self.largest <= 5 * self.band

    def __str__(self) -> str:
        verdict = "agree" if self.holds else "DIFFER"
        return (
            f"loss curves {verdict}: means {self.ours:.4f} and {self.theirs:.4f}, mean difference {self.mean:+.4f} "
            f"(band {self.band}), largest of a step {self.largest:.4f} (band {5 * self.band:.3g})"
        )


def peak_bytes() -> int:
    """Highest memory of this process since it began its program.

    Linux's ``ru_maxrss`` also counts what the parent held when it forked; ``VmHWM`` does not.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def gib(count: float) -> str:
    """Bytes as text."""
    return f"{count / 2**30:.2f} GiB"
