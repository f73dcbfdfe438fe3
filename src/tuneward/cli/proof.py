"""Commands of proof: `verify`, `log`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.cli.output import HERE, Json, ProjectFolder, short, show, stdout, table
from tuneward.errors import ProofError
from tuneward.workflows.log import CheckpointResult, LogResult, export_checkpoint, read_log
from tuneward.workflows.verify import VerifyResult
from tuneward.workflows.verify import verify as walk
from tuneward.workflows.workspace import open_office


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the app."""
    app.command()(verify)
    app.command()(log)


def verify(
    subject: Annotated[
        str | None, typer.Argument(help="An answer (chatcmpl-…), deployment or version; the newest when not given.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint of the log that you kept elsewhere (`tuneward log --checkpoint`); repeatable."),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Walk the chain of proof back to the rows, offline; name every link that does not hold."""
    kept = [path.read_bytes().decode(errors="replace") for path in checkpoint or ()]
    result = walk(open_office(project.resolve()), subject, kept=kept)
    show(result, show_chain, as_json=as_json)
    if not result.verified:
        raise typer.Exit(ProofError.exit_code)


def show_chain(result: VerifyResult) -> None:
    """The chain, link by link."""
    for link in result.links:
        mark = ("✓", "green") if link.holds else ("✗", "red")
        stdout.print(Text.assemble(" ", mark, f" {link.name:<11}{short(link.subject):<34}{link.says}"))
        for fault in link.faults:
            where = f"{fault.place}: " if fault.place not in {"", link.subject} else ""
            stdout.print(f"     {fault.code} {where}{fault.message}", style="red")
    verdict, style = ("verified", "bold green") if result.verified else ("NOT verified", "bold red")
    stdout.print(verdict, style=style)


def log(
    last: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many events to show.")] = 20,
    subject: Annotated[str | None, typer.Option(help="Only events about this id.")] = None,
    checkpoint: Annotated[bool, typer.Option("--checkpoint", help="Export a signed checkpoint instead.")] = False,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Show the audit log, or export a signed checkpoint of it."""
    office = open_office(project.resolve())
    if checkpoint:
        show(export_checkpoint(office), _note, as_json=as_json)
    else:
        show(read_log(office, last=last, subject=subject), _events, as_json=as_json)


def _note(result: CheckpointResult) -> None:
    stdout.print(result.note, soft_wrap=True)


def _events(result: LogResult) -> None:
    rows = table("", "seq", "at (UTC)", "actor", "action", "subject", "decision")
    for event in result.events:
        rows.add_row(str(event.seq), event.at[:19], event.actor, event.action, short(event.subject), event.decision)
    stdout.print(rows)
