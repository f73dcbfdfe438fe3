"""Commands of proof: `verify`, `log`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.cli.output import HERE, Json, ProjectFolder, plain, print_json, short, show, stderr, stdout, table
from tuneward.errors import ProofError
from tuneward.workflows.log import CheckpointResult, LogResult, export_checkpoint, read_log
from tuneward.workflows.verify import VerifyResult
from tuneward.workflows.verify import verify as walk
from tuneward.workflows.workspace import open_office

#: No checkpoint is as long, whoever else has signed it.
_NOTE_BYTES = 65_536


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
    result = walk(open_office(project.resolve()), subject, kept=[_kept(path) for path in checkpoint or ()])
    show(result, show_chain, as_json=as_json)
    if not result.verified:
        raise typer.Exit(ProofError.exit_code)


def show_chain(result: VerifyResult) -> None:
    """The chain, link by link; then whether it holds, what a reader must know beside that, and the cures."""
    for link in result.links:
        mark = ("✗", "red") if not link.holds else ("!", "bold yellow") if link.affected else ("✓", "green")
        stdout.print(Text.assemble(" ", mark, f" {link.name:<11}{short(link.subject):<34}{link.says}"))
        for fault in link.faults:
            where = f"{fault.place}: " if fault.place not in {"", link.subject} else ""
            stdout.print(f"     {fault.code} {where}{fault.message}", style="red")
    against = [link.name for link in result.links if not link.holds]
    affected = [link.name for link in result.links if link.holds and link.affected]
    if against:
        stdout.print(f"NOT verified: {', '.join(against)}", style="bold red")
    elif affected:
        stdout.print(f"verified: the chain holds; but it is AFFECTED: {', '.join(affected)}", style="bold yellow")
    else:
        stdout.print("verified", style="bold green")
    for cure in dict.fromkeys(fault.cure for link in result.links for fault in link.faults if fault.cure):
        stdout.print(f"cure: {cure}", style="green", soft_wrap=True)


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
        _export(export_checkpoint(office), as_json=as_json)
    else:
        show(read_log(office, last=last, subject=subject), _events, as_json=as_json)


def _export(result: CheckpointResult, *, as_json: bool) -> None:
    """The note alone on stdout, so that `tuneward log --checkpoint > FILE` keeps what `verify` takes."""
    if as_json:
        print_json(plain(result))
        return
    stdout.print(result.note, soft_wrap=True, end="")
    stderr.print(f"next: {result.next}")


def _kept(path: Path) -> str:
    """The note in a file that `tuneward log --checkpoint`, or that with `--json`, was led into.

    Mail may have changed its line ends. More than a note can be long is not read.
    """
    with path.open("rb") as file:
        text = file.read(_NOTE_BYTES).decode("utf-8-sig", errors="replace")
    if text.startswith("{"):
        try:
            text = str(json.loads(text)["note"])
        except (ValueError, LookupError, RecursionError):
            return text
    return text.replace("\r\n", "\n").strip("\n") + "\n"


def _events(result: LogResult) -> None:
    rows = table("", "seq", "at (UTC)", "actor", "action", "subject", "decision")
    for event in result.events:
        rows.add_row(str(event.seq), event.at[:19], event.actor, event.action, short(event.subject), event.decision)
    stdout.print(rows)
