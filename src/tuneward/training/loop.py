"""The loop: one for every method; steps, windows, gradients, checkpoints, and how it stops.

Place on the road: the heart of a run. Receives a model, what of it is trained, an objective, rows and settings; leaves
the model trained. Knows no method by name, no site, no database, no process protocol: it calls ``emit`` and asks
``stop``.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.base_model import OutputHead, hidden_states
from tuneward.training.allocator import TRIM_STEPS, return_freed_memory
from tuneward.training.batches import Step, Window
from tuneward.training.checkpoint import Checkpoints, State
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve, Point
from tuneward.training.losses.objective import Loss, Objective, Outputs
from tuneward.training.optimizer import clip_gradients, learning_rate, make_optimizer
from tuneward.training.plan import MIB
from tuneward.training.rows import Row
from tuneward.training.trainable import Trainable

Emit = Callable[[dict[str, Any]], None]


@dataclass
class Counters:
    """What a run counts, over all its interruptions."""

    tokens: int = 0
    seconds: float = 0.0
    resumed: int = 0


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
        emit: receives the events ``resumed``, ``step`` and ``checkpoint``.
        stop: asked before each window; True ends the run at a checkpoint.
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
    ) -> None:
        self.trainable, self.objective = trainable, objective
        self.model, self.rows, self.steps, self.config = model, rows, steps, config
        self.checkpoints, self.emit, self.stop = checkpoints, emit, stop
        self.head = OutputHead.of(model)
        self.device = str(model.device)
        self.parameters: dict[str, nn.Parameter] = {**trainable.parameters, **objective.parameters}
        self.optimizer = make_optimizer(self.parameters.values(), config)
        self.counters = Counters()
        self.done = 0  # optimizer steps
        self.saved = -1  # the step of the newest checkpoint

    def run(self, curve_at: Callable[[int], Curve]) -> bool:
        """Go on from the newest checkpoint to the end.

        Args:
            curve_at: opens the curve, cut off after a given step.

        Returns:
            True when the last step is done, False when ``stop`` ended the run before it.

        Raises:
            TrainingError: the loss or a gradient is not finite (the last good checkpoint is kept), no memory, no space.
        """
        self._resume()
        curve = curve_at(self.done)
        self.trainable.begin()
        last_saved = time.monotonic()
        while self.done < len(self.steps):
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
            if self.done == len(self.steps) or time.monotonic() - last_saved >= self.config.checkpoint_seconds:
                self._save(self._random())
                last_saved = time.monotonic()
        return True

    def _step(self, step: Step) -> "_Outcome | None":
        """One optimizer step, or None when asked to stop within it."""
        rate = learning_rate(self.done, steps=len(self.steps), config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        figures: dict[str, tuple[Tensor, float]] = {}
        with memory_explained(step):
            self.objective.survey(self._passes(step))
            for indices in step.windows:
                if self.stop():
                    return None
                loss = self.loss(self._window(indices, self.objective.branches))
                (loss.total / step.weight).backward()
                total += loss.total.detach() / step.weight
                for name, (amount, count) in loss.figures.items():
                    before, counted = figures.get(name, (torch.zeros_like(amount), 0.0))
                    figures[name] = (before + amount, counted + count)
        value = float(total)
        norm = float(clip_gradients(self.parameters.values(), self.config.clip_norm))
        if not math.isfinite(value) or not math.isfinite(norm):
            raise self._not_finite(value, norm, [self.rows[i].id for window in step.windows for i in window])
        self.optimizer.step()
        self.trainable.publish()
        return _Outcome(value, norm, rate, {name: float(sum_) / count for name, (sum_, count) in figures.items()})

    def loss(self, window: Window) -> Loss:
        """The objective's loss of a window."""
        return self.objective(self.outputs(window), window)

    def outputs(self, window: Window) -> Outputs:
        """What the model computes for a window."""
        hidden = hidden_states(self.model, window.ids, window.layout)[0]
        return Outputs(hidden, self.head, self.config.head_memory_mib * MIB)

    def look(self, indices: Sequence[int]) -> tuple[Outputs, Window]:
        """Pass the rows of these numbers through the model as it is, without gradient."""
        window = self._window(indices)
        with torch.no_grad():
            return self.outputs(window), window

    def _window(self, indices: Sequence[int], branches: int | None = None) -> Window:
        return Window.pack([self.rows[i] for i in indices], device=self.device, branches=branches)

    def _passes(self, step: Step) -> Iterator[tuple[Outputs, Window]]:
        """The step's windows without gradient and without dropout, for who asks."""
        self.trainable.pause()
        try:
            for indices in step.windows:
                yield self.look(indices)
        finally:
            self.trainable.begin()

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

    def _random(self) -> dict[str, Tensor]:
        """State of the generators that dropout draws from."""
        states = {"random": torch.get_rng_state()}
        if self.device.startswith("cuda"):
            states["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def _save(self, random: Mapping[str, Tensor]) -> None:
        if self.done == self.saved:
            return
        tensors: dict[str, Tensor] = dict(random)
        for name, parameter in self.parameters.items():
            tensors[f"adapter/{name}"] = parameter
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = value
        counters = {"tokens": self.counters.tokens, "seconds": self.counters.seconds, "resumed": self.counters.resumed}
        written = self.checkpoints.write(State(self.done, tensors, counters))
        self.saved = self.done
        self.emit({"event": "checkpoint", "step": self.done, "digest": written.digest})

    def _resume(self) -> None:
        state = self.checkpoints.newest()
        if state is None:
            return
        tensors = dict(state.tensors)
        torch.set_rng_state(tensors.pop("random"))
        if (state_of_device := tensors.pop("random_cuda", None)) is not None:
            torch.cuda.set_rng_state(state_of_device, self.device)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors.pop(f"adapter/{name}"))
        self.trainable.publish()
        for key, value in tensors.items():
            _, kind, name = key.split("/", 2)
            parameter = self.parameters[name]
            self.optimizer.state[parameter][kind] = value.to(parameter.device)
        self.counters = Counters(**state.counters)
        self.counters.resumed += 1
        self.done = self.saved = state.step
        self.emit({"event": "resumed", "step": self.done, "steps": len(self.steps)})


@contextmanager
def memory_explained(step: Step) -> Iterator[None]:
    """Turn running out of memory within ``step`` into a fault with its cure."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        told = f"a step of {step.tokens} tokens in {len(step.windows)} windows did not fit"
        cure = "lower training.window_tokens; the result stays the same"
        if all(len(window) == 1 for window in step.windows):
            cure = "each of its windows is one row: leave out or split long rows, or take a machine with more memory"
        raise TrainingError(Fault("TW-TRAIN-006", told, "training.window_tokens", cure)) from error
