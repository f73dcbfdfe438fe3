"""The command `selfcheck`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.errors import TrainingError
from tuneward.training.selfcheck.line import Line
from tuneward.workflows.selfcheck import SelfcheckResult
from tuneward.workflows.selfcheck import selfcheck as prove

MARKS = {"pass": ("✓", "green"), "fail": ("✗", "bold red"), "not applicable": ("-", "yellow")}


def add_to(app: typer.Typer) -> None:
    """Hang the command into the app."""
    app.command()(selfcheck)


def selfcheck(
    base: Annotated[
        Path | None,
        typer.Option(help="Check this folder's model with built-in conversations; needs no project.", metavar="FOLDER"),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Prove the training core on your own base and rows, line by line, in about a minute."""
    with progress_on_stderr() as progress:
        result = prove(project, base=base, progress=progress)
    show(result, show_lines, as_json=as_json)
    if not result.holds:
        raise typer.Exit(TrainingError.exit_code)


def show_lines(result: SelfcheckResult) -> None:
    """What was checked, every statement with its figures, and the verdict."""
    stdout.print(f"{result.base}, {_rows(result)}; {result.computed}\n")
    rows = table("", "", "statement", "measured", "at most", "what must hold")
    for line in result.lines:
        claim = Text(line.claim)
        if line.on not in {"", "tokens", "whole model"}:
            claim.append(f" ({line.on})", style="dim")
        if line.verdict != "pass":
            claim.append(f"\n{line.verdict}: {line.reason}", style=MARKS[line.verdict][1])
        rows.add_row(Text(*MARKS[line.verdict]), line.name, _measured(line), _tolerance(line), claim)
    stdout.print(rows)
    counts = {verdict: sum(line.verdict == verdict for line in result.lines) for verdict in MARKS}
    told = f"{counts['pass']} of {len(result.lines)} statements hold"
    if counts["not applicable"]:
        told += f", {counts['not applicable']} not applicable"
    if result.holds:
        stdout.print(f"\n{told}; {result.seconds:.0f} s", style="green")
    else:
        stdout.print(f"\n{told}, {counts['fail']} DO NOT HOLD; {result.seconds:.0f} s", style="bold red")
        stdout.print("do not trust a training of this model here; report the output of `tuneward selfcheck --json`")


def _rows(result: SelfcheckResult) -> str:
    return (
        f"{counted(len(result.rows), 'row')} of {result.rows_from}"
        if result.rows_from.startswith("dat_")
        else result.rows_from
    )


def _measured(line: Line) -> str:
    if line.measured is None:
        return ""
    if line.unit == "relative":
        return f"{line.measured:.1e}"
    return (
        f"{line.measured:.0f} {line.unit}" if float(line.measured).is_integer() else f"{line.measured:.2f} {line.unit}"
    )


def _tolerance(line: Line) -> str:
    if line.tolerance is None:
        return ""
    return f"{line.tolerance:.0e}" if line.unit == "relative" else f"{line.tolerance:.0f}"
