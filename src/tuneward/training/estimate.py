"""How long a run takes and what it draws: a few windows timed, the rest by what they cost.

Place on the road: before the run when a plan is asked for, else told after its first steps. Costs are operations; a
window's seconds are taken to be in proportion to them. The figures are estimates, and say so.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from tuneward.modeling.machine import threads
from tuneward.training.batches import Step
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Group
from tuneward.training.loop import Emit, Loop
from tuneward.training.plan import Products
from tuneward.training.probe import try_window, untouched
from tuneward.training.recompute import recomputed_layers
from tuneward.training.rows import Row

#: Steps that the estimate looks at.
PROBED_STEPS = 5

#: An operation of attention takes about as long as so many of a large product (docs/performance.md: 17% of a step's
#: time for 6% of its operations).
ATTENTION_COST = 4.0

#: Watts that are reckoned with: a processor's per thread that computes, memory included; of a GPU its board. Rough,
#: after data sheets: a server's processor of 64 cores draws 280 to 400 W, an A100 up to 400, an H100 up to 700 W.
WATTS_PER_THREAD, WATTS_PER_GPU = 10.0, 700.0

#: Elements on which the optimizer's speed is measured.
PROBED_ELEMENTS = 2**22


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    Attributes:
        seconds: of all its steps; measuring held-out rows, a reference's pass and loading come on top.
        watts: that are reckoned with.
        watt_hours: seconds times watts.
        windows: how many were timed.
    """

    seconds: float
    watts: float
    windows: int

    @property
    def watt_hours(self) -> float:
        """Energy."""
        return self.seconds * self.watts / 3600

    def to_json(self) -> dict[str, Any]:
        """As the training process prints it."""
        return {**asdict(self), "watt_hours": self.watt_hours}


@dataclass(frozen=True)
class Costs:
    """What windows cost, in operations.

    Attributes:
        products: the model's weights by what their products cost.
        attention: operations per token and token seen.
        again: share of the layers that are computed again.
    """

    products: Products
    attention: float
    again: float

    @classmethod
    def of(cls, model: PreTrainedModel, recompute: bool | int) -> "Costs":
        """Those of a model."""
        config: Any = model.config
        text = config.get_text_config()
        layers, heads = text.num_hidden_layers, text.num_attention_heads
        width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
        return cls(Products.of(model), 12.0 * width * layers, recomputed_layers(layers, recompute) / layers)

    def window(self, rows: Sequence[Row]) -> float:
        """The cost of one pass forward and backward."""
        tokens, learned = sum(row.size for row in rows), sum(row.trained for row in rows)
        seen = sum(_seen(row) for row in rows)
        more = self.again * (2 * tokens * self.products.frozen + ATTENTION_COST * self.attention / 3 * seen)
        return self.products.operations(tokens, learned) + ATTENTION_COST * self.attention * seen + more


def _seen(row: Row) -> float:
    """Pairs of a token and one that it sees."""
    prompt = row.ids.size
    return prompt**2 / 2 + sum(branch.size * (prompt + branch.size / 2) for branch in row.branches)


def watts_of(device: str, processes: int = 1) -> float:
    """What is reckoned with for a run's power, in watts."""
    return processes * (WATTS_PER_GPU if device.startswith("cuda") else WATTS_PER_THREAD * threads())


def rehearse(loop: Loop, *, steps: int = PROBED_STEPS) -> Estimate:
    """Time windows of steps that lie spread over the run; no weight moves, no random number is used up.

    Processes of a group pass the same windows at the same time, as fast as they would pass each its own.

    Args:
        loop: before its first step.
        steps: how many are looked at, a window of each.
    """
    costs = Costs.of(loop.model, loop.config.recompute)
    count = min(steps, len(loop.steps))
    chosen = [loop.steps[(2 * i + 1) * len(loop.steps) // (2 * count)] for i in range(count)]
    windows = [step.windows[i % len(step.windows)] for i, step in enumerate(chosen)]
    with untouched(loop):
        try_window(loop, windows[0])  # new code and first pages, which a run pays once
        seconds = sum(try_window(loop, window) for window in windows)
    moving = _moving_seconds(loop)
    done = sum(costs.window([loop.rows[i] for i in window]) for window in windows)
    total = sum(costs.window([loop.rows[i] for i in window]) for step in loop.steps for window in step.windows)
    whole = seconds / done * total / loop.group.size + moving * len(loop.steps)
    return Estimate(whole, watts_of(loop.device, loop.group.size), len(windows))


def _moving_seconds(loop: Loop) -> float:
    """Seconds of an optimizer's step, from one on other numbers."""
    elements = sum(p.numel() for p in loop.parameters.values())
    some = min(elements, PROBED_ELEMENTS)
    parameter = torch.nn.Parameter(torch.zeros(some, device=loop.device))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.grad = torch.ones_like(parameter)
    for _ in range(2):
        started = time.perf_counter()
        optimizer.step()
        float(parameter.detach()[0])
        taken = time.perf_counter() - started
    return taken * elements / some


class Estimating:
    """Passes events on, and after the first steps adds an ``estimate``.

    Args:
        emit: receives the events.
        model: what is trained.
        rows: the dataset.
        steps: the run's course.
        config: the training section.
        group: the processes that train together.
    """

    def __init__(
        self,
        emit: Emit,
        *,
        model: PreTrainedModel,
        rows: Sequence[Row],
        steps: Sequence[Step],
        config: TrainingConfig,
        group: Group,
    ) -> None:
        self._emit, self._rows, self._steps = emit, rows, steps
        self._costs = Costs.of(model, config.recompute)
        self._watts = watts_of(model.device.type, group.size)
        self._first: tuple[int, float] | None = None
        self._told = False

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass one on."""
        self._emit(event)
        if event.get("event") != "step" or self._told:
            return
        step, seconds = int(event["step"]), float(event["seconds"])
        if self._first is None:  # its time holds what is paid once
            self._first = step, seconds
        if step - self._first[0] == PROBED_STEPS - 1:
            self._told = True
            self._emit({"event": "estimate", **self._estimate(step, seconds).to_json()})

    def _estimate(self, step: int, seconds: float) -> Estimate:
        assert self._first is not None, "called after it was seen"
        begun, before = self._first
        seen, left = self._steps[begun:step], self._steps[step:]
        rate = (seconds - before) / sum(map(self._cost, seen))
        windows = sum(len(one.windows) for one in seen)
        return Estimate(seconds + rate * sum(map(self._cost, left)), self._watts, windows)

    def _cost(self, step: Step) -> float:
        return sum(self._costs.window([self._rows[i] for i in window]) for window in step.windows)
