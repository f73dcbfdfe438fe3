"""Figures: what is said of a finished run, in the database, the report and the terminal.

Place on the road: after the last step. Held-out rows and calibration add theirs (``held_out``).
"""

from typing import Any

import torch

from tuneward.training.allocator import peak_bytes
from tuneward.training.loop import Loop
from tuneward.training.plan import Plan


def figures_of(loop: Loop, plan: Plan, *, rows: int, losses: tuple[float, float]) -> dict[str, Any]:
    """Counts, losses, seconds and bytes.

    Args:
        loop: after the run; each process of its group must ask.
        plan: that was made before it.
        rows: that were learned from.
        losses: the first, and the mean of the last.
    """
    counters = loop.counters
    by_step = counters.settings_by_step()
    return {
        "steps": loop.done,
        "rows": rows,
        "tokens": counters.tokens,
        "trained_tokens": sum(step.trained for step in loop.steps[: loop.done]),
        "trained_parameters": plan.trained_parameters + sum(p.numel() for p in loop.objective.parameters.values()),
        "first_loss": losses[0],
        "final_loss": losses[1],
        "seconds": counters.seconds,
        "tokens_per_second": counters.tokens / max(counters.seconds, 1e-9),
        "peak_bytes": max(loop.group.gather(peak_bytes(loop.device))),
        "planned_peak_bytes": plan.peak_bytes,
        "resumed": counters.resumed,
        "precision": plan.precision,
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "processes": loop.group.size,
        **({} if by_step is None else {"settings_by_step": by_step}),
    }
