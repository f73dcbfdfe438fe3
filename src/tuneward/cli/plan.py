"""What a run would take, as `train --plan` prints it."""

from tuneward.amounts import counted
from tuneward.cli.output import stdout, table
from tuneward.workflows.plan import PlanResult
from tuneward.workflows.plan_text import estimate_text


def show_plan(result: PlanResult) -> None:
    """The plan as a table: what is trained, how long it is, memory by part, time, operations, energy."""
    plan = result.plan
    whole = plan["base_parameters"] + plan["trained_parameters"]
    free = plan["available_bytes"]
    rows = table("", "", "")
    rows.add_row("trains", f"{plan['trained_parameters']:,} of {whole:,} ({plan['trained_parameters'] / whole:.2%})")
    if plan["not_reached"]:
        rows.add_row("not reached", plan["not_reached"])
    if plan["kept_whole"]:
        rows.add_row("not in four bits", plan["kept_whole"])
    rows.add_row("method", f"{plan['method']}, {plan['precision']} on {plan['device']}")
    rows.add_row("rows", f"{plan['rows']:,}, the longest of {plan['longest_row']:,} tokens")
    rows.add_row("tokens", f"{plan['tokens']:,}, of which {plan['trained_tokens']:,} are learned")
    rows.add_row(
        "steps", f"{plan['steps']:,} in {counted(plan['windows'], 'window')} of up to {plan['widest_window']:,} tokens"
    )
    for name, size in plan["memory"].items():
        if size:
            rows.add_row(f"  {name.replace('_', ' ')}", f"{size / 2**20:,.1f} MiB")
    told = "" if free is None else f", of {free / 2**20:,.0f} MiB that this process can have"
    rows.add_row("peak memory", f"{plan['peak_bytes'] / 2**20:,.0f} MiB{told}")
    rows.add_row("time, energy", estimate_text(plan["estimate"]))
    if result.load is not None:
        many = f"load {result.load:.1f} on {counted(result.cores, 'core')}"
        rows.add_row("", f"the time was measured beside other work ({many}); alone it takes less")
    rows.add_row("operations", f"{plan['six_nd']:.2e} FLOP as 6ND; {plan['floating_operations']:.2e} cannot be avoided")
    stdout.print(rows)
