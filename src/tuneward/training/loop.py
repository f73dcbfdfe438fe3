"""The loop: one for every method; steps, windows, gradients, checkpoints, and how it stops.

Place on the road: the heart of a run. Receives a model with its adapter, rows, and settings; leaves a trained adapter
in the model. Knows no site, no database, no process protocol: it calls ``emit`` and asks ``stop``.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.base_model import OutputHead, hidden_states
from tuneward.modeling.lora import LoraLinear
from tuneward.training.allocator import TRIM_STEPS, return_freed_memory
from tuneward.training.batches import Row, Step, Window
from tuneward.training.checkpoint import Checkpoints, State
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve, Point
from tuneward.training.losses import cross_entropy_sum
from tuneward.training.optimizer import clip_gradients, learning_rate, make_optimizer
from tuneward.training.plan import MIB

Emit = Callable[[dict[str, Any]], None]


@dataclass
class Counters:
    """What a run counts, over all its interruptions."""

    tokens: int = 0
    seconds: float = 0.0
    resumed: int = 0


class Loop:
    """A run in progress.

    Args:
        model: the frozen base with its adapter.
        layers: module path → layer of the adapter.
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
        layers: Mapping[str, LoraLinear],
        *,
        rows: Sequence[Row],
        steps: Sequence[Step],
        config: TrainingConfig,
        checkpoints: Checkpoints,
        emit: Emit,
        stop: Callable[[], bool],
    ) -> None:
        self.layers = layers
        self.model, self.rows, self.steps, self.config = model, rows, steps, config
        self.checkpoints, self.emit, self.stop = checkpoints, emit, stop
        self.head = OutputHead.of(model)
        self.device = str(model.device)
        self.parameters: dict[str, nn.Parameter] = {}
        for path, layer in layers.items():
            self.parameters[f"{path}.a"], self.parameters[f"{path}.b"] = layer.a, layer.b
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
        for layer in self.layers.values():  # the frozen base stays in evaluation mode: its own dropout is not wanted
            layer.train()
        last_saved = time.monotonic()
        while self.done < len(self.steps):
            started, random = time.monotonic(), self._random()
            outcome = self._step(self.steps[self.done])
            if outcome is None:
                self._save(random)
                return False
            loss, norm, rate = outcome
            self.done += 1
            self.counters.tokens += self.steps[self.done - 1].tokens
            self.counters.seconds += time.monotonic() - started
            curve.add(Point(self.done, loss, rate, norm, self.counters.tokens, round(self.counters.seconds, 3)))
            self._report(loss, rate, norm)
            if self.done % TRIM_STEPS == 0:
                self.optimizer.zero_grad(set_to_none=True)
                return_freed_memory()
            if self.done == len(self.steps) or time.monotonic() - last_saved >= self.config.checkpoint_seconds:
                self._save(self._random())
                last_saved = time.monotonic()
        return True

    def _step(self, step: Step) -> tuple[float, float, float] | None:
        """One optimizer step: (loss, gradient's length, learning rate), or None when asked to stop within it."""
        rate = learning_rate(self.done, steps=len(self.steps), config=self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        records: list[str] = []
        with _memory_explained(step):
            for indices in step.windows:
                if self.stop():
                    return None
                window = Window.pack([self.rows[i] for i in indices], device=self.device)
                records.extend(window.records)
                loss = self.loss(window) / step.trained
                loss.backward()
                total += loss.detach()
        value = float(total)
        norm = float(clip_gradients(self.parameters.values(), self.config.clip_norm))
        if not math.isfinite(value) or not math.isfinite(norm):
            raise self._not_finite(value, norm, records)
        self.optimizer.step()
        return value, norm, rate

    def loss(self, window: Window) -> Tensor:
        """Summed loss of a window's learned tokens."""
        hidden = hidden_states(self.model, window.ids, window.layout)[0]
        chunk_bytes = self.config.head_memory_mib * MIB
        return cross_entropy_sum(hidden[window.places], window.targets, self.head, chunk_bytes=chunk_bytes)

    def _report(self, loss: float, rate: float, norm: float) -> None:
        total = sum(step.tokens for step in self.steps)
        speed = self.counters.tokens / max(self.counters.seconds, 1e-9)
        self.emit(
            {
                "event": "step",
                "step": self.done,
                "steps": len(self.steps),
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": norm,
                "tokens": self.counters.tokens,
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
        for key, value in tensors.items():
            _, kind, name = key.split("/", 2)
            parameter = self.parameters[name]
            self.optimizer.state[parameter][kind] = value.to(parameter.device)
        self.counters = Counters(**state.counters)
        self.counters.resumed += 1
        self.done = self.saved = state.step
        self.emit({"event": "resumed", "step": self.done, "steps": len(self.steps)})


@contextmanager
def _memory_explained(step: Step) -> Iterator[None]:
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
