"""Validation: rows held out of training, their loss on the way, the best weights, and the end when nothing improves.

Place on the road: beside the loop, which asks it between two steps. What is measured does not depend on the size of
windows: sums over the whole share are divided by its whole weight. All that it knows stands in each checkpoint, so that
a run that goes on decides as if it had never stopped. Knows no method by name and no optimizer.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tuneward.digests import digest_bytes
from tuneward.errors import Fault, TrainingError
from tuneward.storage.files import write_atomically
from tuneward.training.batches import Step, Window, fill_windows
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import ALONE, Group, Share
from tuneward.training.interruption import Stopped, memory_explained
from tuneward.training.losses.objective import Objective, Outputs
from tuneward.training.rows import Rows
from tuneward.training.samples import Samples
from tuneward.training.trainable import Trainable

FILE = "validation.jsonl"


class Look(Protocol):
    """Passes rows through the model without gradient and without dropout; see :meth:`Learner.look`."""

    def __call__(self, indices: Sequence[int], branches: int | None = None) -> tuple[Outputs, Window]: ...  # noqa: D102


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        step: optimizer steps done before it; 0 is the start.
        loss: the objective's mean over the held-out share, in the unit of the training loss.
        figures: what else the objective measured.
        best: whether it was the lowest so far; the start does not take part.
    """

    step: int
    loss: float
    figures: Mapping[str, float] = field(default_factory=dict)
    best: bool = False


@dataclass
class Course:
    """What the measurements so far decided; stands in each checkpoint.

    Attributes:
        measured: step of the newest one, -1 before the first.
        best_step: step of the lowest loss.
        best_loss: that loss.
        mark: loss that the next one must fall below, by ``min_delta``, to count as an improvement.
        misses: measurements in a row that did not.
    """

    measured: int = -1
    best_step: int | None = None
    best_loss: float | None = None
    mark: float | None = None
    misses: int = 0

    def take(self, step: int, loss: float, *, min_delta: float) -> bool:
        """Count a measurement; True when it is the best so far."""
        self.measured = step
        if step == 0:
            return False
        if self.mark is None or loss < self.mark - min_delta:
            self.mark, self.misses = loss, 0
        else:
            self.misses += 1
        if self.best_loss is not None and loss >= self.best_loss:
            return False
        self.best_step, self.best_loss = step, loss
        return True


class Learner(Protocol):
    """The loop, as validation sees it."""

    done: int
    trainable: Trainable
    stop: Callable[[], bool]
    emit: Callable[[dict[str, Any]], None]

    def look(self, indices: Sequence[int], branches: int | None = None) -> tuple[Outputs, Window]:
        """Pass rows through the model as it is, without gradient; all branches, or so many from the first on."""

    def keep_best(self) -> None:
        """Write the weights as they are as the best so far."""


class Validation:
    """The held-out share of a run.

    Args:
        held: numbers of the rows.
        rows: all rows.
        steps: the course of the run.
        objective: what is measured.
        config: the training section.
        folder: the run's; receives ``validation.jsonl``.
        samples: prompts to answer at each measurement, or None.
        group: the processes that train together; windows are dealt over it, and rank 0 alone writes.
    """

    def __init__(
        self,
        held: Sequence[int],
        rows: Rows,
        steps: Sequence[Step],
        objective: Objective,
        *,
        config: TrainingConfig,
        folder: Path,
        samples: Samples | None,
        group: Group = ALONE,
    ) -> None:
        self.held, self.rows, self.steps, self.objective = held, rows, steps, objective
        self.config, self.path, self.samples = config, folder / FILE, samples
        self.course, self.group = Course(), group

    @property
    def ended(self) -> bool:
        """Whether patience has run out."""
        patience = self.config.validation.patience
        return patience is not None and self.course.misses >= patience

    def resume(self, course: Mapping[str, Any] | None) -> None:
        """Go on from what a checkpoint holds, or begin; files are cut off after it."""
        self.course = Course(**(course or {}))
        if self.group.rank:
            return
        kept = [found for found in read_measured(self.path) if found.step <= self.course.measured]
        write_atomically(self.path, "".join(_line(found) for found in kept).encode())
        if self.samples is not None:
            self.samples.cut(self.course.measured)

    def catch_up(self, learner: Learner) -> bool:
        """Measure where the run stands, if that is due and not done; False when asked to stop meanwhile.

        Raises:
            TrainingError: the loss is not finite, or the best weights cannot be written.
        """
        step = learner.done
        if step <= self.course.measured or not self._due(step):
            return True
        learner.trainable.pause()
        try:
            sizes = [int(self.rows.sizes[i]) for i in self.held]
            windows = [[self.held[i] for i in window] for window in fill_windows(sizes, self.config.room)]
            found = measure(windows, learner.look, self.objective, learner.stop, group=self.group, rows=self.rows)
            if found is None:
                return False
            if self.samples is not None:
                self.samples.answer(step)
        finally:
            learner.trainable.begin()
        loss, figures = found
        if not math.isfinite(loss):
            told = f"validation loss {loss} after step {step}; the checkpoints are kept"
            cure = "lower training.learning_rate, or look at the held-out rows"
            raise TrainingError(Fault("TW-TRAIN-007", told, f"step {step}", cure))
        best = self.course.take(step, loss, min_delta=self.config.validation.min_delta)
        if best:
            learner.keep_best()
        taken = Measured(step, loss, figures, best)
        if self.group.rank == 0:
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(_line(taken))
        told_next = {"misses": self.course.misses, "ended": self.ended and step < len(self.steps)}
        learner.emit({"event": "validation", **asdict(taken), **told_next})
        return True

    def _due(self, step: int) -> bool:
        if step in (0, len(self.steps)):
            return True
        every = self.config.validation.every_steps
        return self.steps[step - 1].ends_epoch if every is None else step % every == 0


def measure(
    windows: Sequence[Sequence[int]],
    look: Look,
    objective: Objective,
    stop: Callable[[], bool] = lambda: False,
    *,
    rows: Rows,
    group: Group = ALONE,
) -> tuple[float, dict[str, float]] | None:
    """Loss and figures over rows, the same for any cut into windows; None when asked to stop.

    Args:
        windows: numbers of the rows, window by window; each row once.
        look: passes rows through the model without gradient and without dropout.
        objective: what is measured.
        stop: asked before each window.
        rows: all rows.
        group: the windows are dealt over it.
    """
    total = weight = 0.0
    sums: dict[str, tuple[float, float]] = {}

    def passes() -> Iterator[tuple[Outputs, Window]]:
        for share in shares():
            if stop():
                raise Stopped
            looked = look(share.rows)
            if share.counted:
                yield looked

    def shares() -> Iterator[Share]:
        room = max(sum(int(rows.sizes[i]) for i in window) for window in windows)
        return group.share(windows, lambda i: int(rows.sizes[i]), room=room)

    with memory_explained("measuring held-out rows", windows), torch.no_grad():
        try:
            objective.survey(passes(), group.summed)
        except Stopped:
            return None
        for share in shares():
            if stop():
                return None
            outputs, window = look(share.rows, objective.branches)
            if not share.counted:
                continue
            loss = objective(outputs, window)
            total += float(loss.total)
            weight += sum(objective.weigh(row) for row in window.rows)
            for name, (amount, count) in loss.figures.items():
                before, counted = sums.get(name, (0.0, 0.0))
                sums[name] = (before + float(amount), counted + count)
    parts = group.gather((total, weight, sums))
    total, weight = (sum(part[at] for part in parts) for at in (0, 1))
    joined: dict[str, tuple[float, float]] = {}
    for _, _, figures in parts:
        for name, (amount, count) in figures.items():
            before, counted = joined.get(name, (0.0, 0.0))
            joined[name] = (before + amount, counted + count)
    return total / weight, {name: amount / count for name, (amount, count) in joined.items() if count}


def hold_out(groups: np.ndarray, *, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the rows to train on and of those held out, both in order.

    Groups are taken whole, in an order that the seed fixes, as long as they fit into the share; at least one row is
    held out. The order is by digest and not by a generator: no library's next version may change what a seed means.

    Args:
        groups: (rows,) whose row each is.
        fraction: share of the rows; 0 holds out none.
        seed: of the choice.

    Raises:
        TrainingError: nothing would be left to train on.
    """
    if not fraction:
        return list(range(len(groups))), []
    names, sizes = np.unique(groups, return_counts=True)
    size_of = dict(zip(names.tolist(), sizes.tolist(), strict=True))
    order = sorted(size_of, key=lambda name: digest_bytes(f"{seed}/validation/{name}".encode()))
    room = max(1, round(fraction * len(groups)))
    chosen: set[int] = set()
    left = room
    for name in order:
        if size_of[name] <= left:
            chosen.add(name)
            left -= size_of[name]
    if not chosen:
        chosen.add(min(order, key=lambda name: size_of[name]))
    held = [number for number, name in enumerate(groups.tolist()) if name in chosen]
    if len(held) == len(groups):
        told = f"{len(groups)} rows of {len(size_of)} subjects: holding some out leaves none to train on"
        cure = "add rows of other subjects, or set fraction: 0"
        raise TrainingError(Fault("TW-TRAIN-041", told, "training.validation.fraction", cure))
    return [number for number, name in enumerate(groups.tolist()) if name not in chosen], held


def read_measured(path: Path) -> list[Measured]:
    """The measurements of a file; a last line that a crash cut in half is left out."""
    found: list[Measured] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(Measured(**json.loads(line)))
            except (ValueError, TypeError):
                break
    return found


def _line(found: Measured) -> str:
    return json.dumps(asdict(found)) + "\n"
