"""A plan in words: the lines that stand at the start of every run; ``train`` says them, ``train --plan`` shows more."""

from collections.abc import Mapping
from typing import Any

from tuneward.amounts import counted


def memory_text(plan: Mapping[str, Any]) -> str:
    """Memory by part in one line, in MiB."""
    parts = ", ".join(f"{name.replace('_', ' ')} {size / 2**20:,.0f}" for name, size in plan["memory"].items() if size)
    return f"about {plan['peak_bytes'] / 2**20:,.0f} MiB at the peak: {parts}"


def plan_text(plan: Mapping[str, Any]) -> str:
    """What a run does, in one line."""
    whole = plan["base_parameters"] + plan["trained_parameters"]
    return (
        f"{plan['trained_parameters']:,} of {whole:,} parameters ({plan['trained_parameters'] / whole:.1%}), "
        f"{counted(plan['tokens'], 'token')} in {counted(plan['steps'], 'step')}"
    )


def estimate_text(estimate: Mapping[str, Any]) -> str:
    """Time and energy in words."""
    minutes, seconds = divmod(round(estimate["seconds"]), 60)
    energy = f"{estimate['watt_hours']:,.1f} Wh if it draws {estimate['watts']:,.0f} W"
    measured = counted(estimate["windows"], "window")
    return f"about {minutes}:{seconds:02d} min of steps, {energy} (estimate after {measured})"
