"""The probe: a run's largest windows, passed once before the first step, so that the plan's peak is one that was seen.

Place on the road: after ``fitting`` has found that the run should fit, before anything of it is trained. What the plan
counted part by part is corrected by what the process really took; what is still to come (the optimizer's moments, code
for shapes that were not met yet) is added. Where the system cannot tell, the plan stays as it was counted.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from tuneward.training.allocator import forget_peak, peak_since, return_freed_memory
from tuneward.training.batches import ROUND_TOKENS, Step, Window
from tuneward.training.footprint import Footprint
from tuneward.training.interruption import memory_explained
from tuneward.training.loop import Loop
from tuneward.training.losses.objective import Outputs
from tuneward.training.plan import Plan, code_bytes
from tuneward.training.rows import Row

#: What a long run's heap holds beyond what the probe saw, because windows differ in size: a share of what comes and
#: goes with a window (docs/performance.md, "Plans").
GROWTH = 0.05

#: Parts that were counted and not looked at, in the order in which they are believed least.
COUNTED = ("slack", "code", "backward", "activations", "loss_head", "runtime")


def probed(plan: Plan, loop: Loop, footprint: Footprint) -> Plan:
    """The plan with the peak that its largest windows lead to; no weight moves, no random number is used up.

    Args:
        plan: as it was counted.
        loop: of the run, before its first step; of one process.
        footprint: of the model, for what is still to come.

    Raises:
        TrainingError: the windows do not fit into memory after all.
    """
    windows = largest_windows(loop)
    if not forget_peak(loop.device):
        return plan
    with untouched(loop), memory_explained("the run's largest windows", windows):
        for window in windows:
            try_window(loop, window)
        loop.trainable.collect()
        seen = peak_since(loop.device)
    passing = sum(plan.memory[part] for part in ("activations", "backward", "loss_head"))
    met = [Step((window,), 0, 0, 0.0) for window in windows]
    code = max(0, plan.memory["code"] - code_bytes(loop.rows, met, footprint)) if plan.memory["code"] else 0
    peak = seen + plan.memory["optimizer"] + code + int(GROWTH * passing)
    return replace(plan, memory=corrected(plan.memory, peak))


def corrected(memory: dict[str, int], peak: int) -> dict[str, int]:
    """Parts that add up to ``peak``: what is missing is slack, what is too much goes from what was only counted."""
    found = dict(memory)
    found["slack"] = max(0, peak - sum(memory.values()) + memory["slack"])
    over = sum(found.values()) - peak
    for part in COUNTED:
        less = min(max(0, over), found[part])
        found[part] -= less
        over -= less
    return found


def largest_windows(loop: Loop) -> list[tuple[int, ...]]:
    """A small window, after which gradients are there, then the one of most tokens and the one of the longest rows."""
    windows = [window for step in loop.steps for window in step.windows]
    sizes = {i: loop.rows[i].size for window in windows for i in window}
    tokens = sorted(windows, key=lambda window: (sum(sizes[i] for i in window), window))
    squares = max(windows, key=lambda window: (sum(sizes[i] ** 2 for i in window), window))
    return list(dict.fromkeys((tokens[0], tokens[-1], squares)))


@contextmanager
def untouched(loop: Loop) -> Iterator[None]:
    """Leave a loop as it was found: no gradient, no random number used up, its pages given back."""
    device = torch.device(loop.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        loop.trainable.begin()
        try:
            yield
        finally:
            loop.trainable.pause()
            for parameter in (*loop.model.parameters(), *loop.parameters.values()):
                parameter.grad = None
            return_freed_memory()


def try_window(loop: Loop, indices: Sequence[int]) -> float:
    """Pass a window forward and backward as a step would; returns seconds."""
    rows = [_with_reference(loop.rows[i]) if loop.objective.needs_reference else loop.rows[i] for i in indices]
    started = time.perf_counter()
    whole = Window.pack(rows, device=loop.device, round_to=ROUND_TOKENS)
    loop.objective.survey(_looked(loop, whole), loop.group.summed)
    window = Window.pack(rows, device=loop.device, branches=loop.objective.branches, round_to=ROUND_TOKENS)
    loss = loop.loss(window)
    loss.total.backward()
    float(loss.total.detach())  # waits for the device
    return time.perf_counter() - started


def _looked(loop: Loop, window: Window) -> Iterator[tuple[Outputs, Window]]:
    """One pass without gradient, made only for an objective that asks for it."""
    with torch.no_grad():
        yield loop.outputs(window), window


def _with_reference(row: Row) -> Row:
    """Any values will do where only time and memory count."""
    return replace(row, reference=tuple(0.0 for _ in row.branches) or (0.0,))
