"""The loop: one for every method; steps, windows, gradients, checkpoints, and how it stops.

Place on the road: the heart of a run. Receives a model, what of it is trained, an objective, rows and settings; leaves
the model trained. Knows no method by name, no site, no database, no process protocol: it calls ``emit`` and asks
``stop``.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.base_model import OutputHead
from tuneward.training.allocator import TRIM_STEPS, return_freed_memory
from tuneward.training.batches import ROUND_TOKENS, Step, Window
from tuneward.training.checkpoint import Checkpoints, State
from tuneward.training.config import TrainingConfig
from tuneward.training.counters import Counters, course_of
from tuneward.training.curve import Curve, Point
from tuneward.training.distributed import ALONE, Group, Share
from tuneward.training.interruption import Stopped, memory_explained
from tuneward.training.losses.objective import Loss, Objective, Outputs
from tuneward.training.optimizer import embedding_names, learning_rate, make_optimizer
from tuneward.training.plan import MIB
from tuneward.training.rows import Row
from tuneward.training.sharding import States, states_of
from tuneward.training.state import (
    gather_random,
    moments_of,
    put_moments,
    put_random,
    put_weights,
    random_of,
    weights_of,
)
from tuneward.training.trainable import Trainable
from tuneward.training.validation import Validation

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Outcome:
    """What an optimizer step gave: loss, gradient's length before clipping, learning rate, the objective's figures."""

    loss: float
    norm: float
    rate: float
    figures: Mapping[str, float]


class Loop:
    """A run in progress.

    Args:
        model: the base, with its adapter if it has one.
        trainable: what of it is trained.
        objective: what is minimised.
        rows: the dataset, tokenised.
        steps: the course of the run over ``rows``.
        config: the training section.
        checkpoints: where state is kept.
        emit: receives the events ``resumed``, ``step``, ``validation`` and ``checkpoint``.
        stop: asked before each window; True ends the run at a checkpoint. The answer is the same in all of ``group``.
        validation: the held-out share, or None.
        group: the processes that train together.
        states: how windows pass through the model; None where it lies whole in this process.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        trainable: Trainable,
        objective: Objective,
        *,
        rows: Sequence[Row],
        steps: Sequence[Step],
        config: TrainingConfig,
        checkpoints: Checkpoints,
        emit: Emit,
        stop: Callable[[], bool],
        validation: Validation | None = None,
        group: Group = ALONE,
        states: States | None = None,
    ) -> None:
        self.trainable, self.objective = trainable, objective
        self.model, self.rows, self.steps, self.config = model, rows, steps, config
        self.checkpoints, self.emit, self.stop, self.validation = checkpoints, emit, stop, validation
        self.group, self.states = group, states or states_of(model)
        self.device = str(model.device)
        self.parameters: dict[str, nn.Parameter] = {**trainable.parameters, **objective.parameters}
        self.held_whole = [p for name, p in self.parameters.items() if name not in trainable.shards]
        self.optimizer = make_optimizer(self.parameters, config, embeddings=embedding_names(model))
        self.counters = Counters(processes=group.size, courses=[course_of(config, 0)])
        self.done = 0  # optimizer steps
        self.saved = -1  # the step of the newest checkpoint

    def run(self, curve_at: Callable[[int], Curve]) -> bool:
        """Go on from the newest checkpoint to the end.

        Args:
            curve_at: opens the curve, cut off after a given step.

        Returns:
            True when the last step is done or validation ended the run, False when ``stop`` ended the run before it.

        Raises:
            TrainingError: the loss or a gradient is not finite (the last good checkpoint is kept), no memory, no space.
        """
        self._resume()
        curve = curve_at(self.done)
        self.trainable.begin()
        last_saved = time.monotonic()
        while True:
            if self.validation is not None and not self.validation.catch_up(self):
                self._save(self._random())
                return False
            if self.ended:
                break
            started, random = time.monotonic(), self._random()
            outcome = self._step(self.steps[self.done])
            if outcome is None:
                self._save(random)
                return False
            self.done += 1
            self.counters.tokens += self.steps[self.done - 1].tokens
            self.counters.seconds += time.monotonic() - started
            point = self._point(outcome)
            curve.add(point)
            self._report(point)
            if self.done % TRIM_STEPS == 0:
                self.optimizer.zero_grad(set_to_none=True)
                return_freed_memory()
            due = time.monotonic() - last_saved >= self.config.checkpoint_seconds
            if self.group.any(due or self.done == len(self.steps)):
                self._save(self._random())
                last_saved = time.monotonic()
        self._save(self._random())
        return True

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to learn: no step is left, or validation has lost its patience."""
        return self.done == len(self.steps) or (self.validation is not None and self.validation.ended)

    def _step(self, step: Step) -> "_Outcome | None":
        """One optimizer step, or None when asked to stop within it."""
        rate = learning_rate(self.done, steps=len(self.steps), config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        figures: dict[str, tuple[Tensor, float]] = {}
        what = f"a step of {step.tokens} tokens"
        with memory_explained(what, step.windows):
            try:
                self.objective.survey(self._passes(step), self.group.summed)
            except Stopped:
                return None
            for share in self._shares(step):
                if self.stop():
                    return None
                loss = self.loss(self._window(share.rows, self.objective.branches))
                (loss.total / step.weight * share.counted).backward()
                if not share.counted:
                    continue
                total += loss.total.detach() / step.weight
                for name, (amount, count) in loss.figures.items():
                    before, counted = figures.get(name, (torch.zeros_like(amount), 0.0))
                    figures[name] = (before + amount, counted + count)
            self.trainable.collect()
            self.group.add_up(self.held_whole)
        value, means = _added(self.group.gather((float(total), {k: (float(a), n) for k, (a, n) in figures.items()})))
        norm = float(self.group.clip(self.held_whole, self.trainable.shards.values(), self.config.clip_norm))
        if not math.isfinite(value) or not math.isfinite(norm):
            raise self._not_finite(value, norm, [self.rows[i].id for window in step.windows for i in window])
        with memory_explained(what, step.windows):  # the first one makes the moments
            self.optimizer.step()
        self.trainable.publish()
        return _Outcome(value, norm, rate, means)

    def loss(self, window: Window) -> Loss:
        """The objective's loss of a window."""
        return self.objective(self.outputs(window), window)

    def outputs(self, window: Window) -> Outputs:
        """What the model computes for a window."""
        hidden = self.states(window.ids, window.layout)[0]
        return Outputs(hidden, OutputHead.of(self.model), self.config.head_memory_mib * MIB)

    def look(self, indices: Sequence[int], branches: int | None = None) -> tuple[Outputs, Window]:
        """Pass the rows of these numbers through the model as it is, without gradient; see :meth:`Window.pack`."""
        window = self._window(indices, branches)
        with torch.no_grad():
            return self.outputs(window), window

    def _window(self, indices: Sequence[int], branches: int | None = None) -> Window:
        rows = [self.rows[i] for i in indices]
        return Window.pack(rows, device=self.device, branches=branches, round_to=ROUND_TOKENS)

    def _passes(self, step: Step) -> Iterator[tuple[Outputs, Window]]:
        """This process's windows of the step, without gradient and without dropout, for who asks."""
        self.trainable.pause()
        try:
            for share in self._shares(step):
                if self.stop():
                    raise Stopped
                looked = self.look(share.rows)
                if share.counted:
                    yield looked
        finally:
            self.trainable.begin()

    def _shares(self, step: Step) -> Iterator[Share]:
        return self.group.share(step.windows, lambda i: self.rows[i].size, room=self.config.room)

    def _point(self, outcome: "_Outcome") -> Point:
        return Point(
            step=self.done,
            loss=outcome.loss,
            learning_rate=outcome.rate,
            gradient_norm=outcome.norm,
            tokens=self.counters.tokens,
            seconds=round(self.counters.seconds, 3),
            figures=outcome.figures,
        )

    def _report(self, point: Point) -> None:
        total = sum(step.tokens for step in self.steps)
        speed = self.counters.tokens / max(self.counters.seconds, 1e-9)
        self.emit(
            {
                "event": "step",
                "steps": len(self.steps),
                **asdict(point),
                "tokens_per_second": speed,
                "remaining_seconds": (total - self.counters.tokens) / speed,
            }
        )

    def _not_finite(self, loss: float, norm: float, records: Sequence[str]) -> TrainingError:
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
        shown = ", ".join(records[:8]) + (f" and {len(records) - 8} more" if len(records) > 8 else "")
        kept = f"the checkpoint of step {self.saved} is kept" if self.saved >= 0 else "no checkpoint was made yet"
        return TrainingError(
            Fault(
                "TW-TRAIN-007",
                f"{what} in step {self.done + 1}, rows {shown}; {kept}",
                f"step {self.done + 1}",
                "look at these rows, or lower training.learning_rate",
            )
        )

    def keep_best(self) -> None:
        """Write the weights as they are as the best so far."""
        weights = weights_of(self.parameters, self.trainable, self.group)
        if self.group.rank == 0:
            self.checkpoints.write_best(State(self.done, weights, {}))
        self.group.wait()

    def take_best(self) -> None:
        """Put the best weights in the place of the last, where validation found some; see ``validation.keep``."""
        if self.validation is None or self.config.validation.keep == "last":
            return
        step = self.validation.course.best_step
        if step is not None and step != self.done:
            put_weights(self.checkpoints.best(step).tensors, self.parameters, self.trainable)

    def _random(self) -> dict[str, Tensor]:
        return random_of(self.device)

    def _save(self, random: Mapping[str, Tensor]) -> None:
        if self.done == self.saved:
            return
        tensors = {
            **gather_random(random, self.group),
            **weights_of(self.parameters, self.trainable, self.group),
            **moments_of(self.optimizer, self.parameters, self.trainable, self.group),
        }
        counters, best = asdict(self.counters), None
        if self.validation is not None:
            counters["validation"], best = asdict(self.validation.course), self.validation.course.best_step
        self.saved = self.done
        if self.group.rank == 0:
            written = self.checkpoints.write(State(self.done, tensors, counters, best))
            self.emit({"event": "checkpoint", "step": self.done, "digest": written.digest})
        self.group.wait()

    def _resume(self) -> None:
        state = self.checkpoints.newest()
        counters = {} if state is None else dict(state.counters)
        course = counters.pop("validation", None)
        if self.validation is not None:
            self.validation.resume(course)
        if state is None:
            return
        put_random(state.tensors, self.group, self.device, seed=self.config.seed + state.step * self.group.size)
        put_weights(state.tensors, self.parameters, self.trainable)
        put_moments(state.tensors, self.optimizer, self.parameters, self.trainable)
        self.counters = Counters(**counters)
        before, self.counters.processes = self.counters.processes, self.group.size
        self.counters.resumed += 1
        self.done = self.saved = state.step
        told = self.counters.change_course(self.config, self.done)
        self.emit({"event": "resumed", "step": self.done, "steps": len(self.steps)})
        if told is not None:
            self.emit({"event": "note", "text": told})
        if before != self.group.size:
            told = (
                f"{before} processes trained up to step {self.done}, {self.group.size} go on: same losses, other bits"
            )
            self.emit({"event": "note", "text": told})


def _added(parts: Sequence[tuple[float, Mapping[str, tuple[float, float]]]]) -> tuple[float, dict[str, float]]:
    """What the processes of a group measured in a step, by rank → the step's loss and means."""
    sums: dict[str, tuple[float, float]] = {}
    for _, figures in parts:
        for name, (amount, count) in figures.items():
            before, counted = sums.get(name, (0.0, 0.0))
            sums[name] = (before + amount, counted + count)
    return sum(loss for loss, _ in parts), {name: amount / count for name, (amount, count) in sums.items()}
