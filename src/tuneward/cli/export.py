"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, short, show, stdout
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.workflows.export import ExportResult, Format, Type
from tuneward.workflows.export import export as write
from tuneward.workflows.workspace import open_workspace


def add_to(app: typer.Typer) -> None:
    """Hang the command into the app."""
    app.command()(export)


def export(
    format: Annotated[
        Format, typer.Option(help="`safetensors` for transformers, `gguf` for llama.cpp.")
    ] = "safetensors",
    type: Annotated[
        Type | None,
        typer.Option(help="`bf16`, `f16`, in GGUF also `q8_0`; left out, the base's own, in GGUF `f16`."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="A new folder that receives the copy as well.")] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Write the version as one model without adapter, and check that it says what the adapter says."""
    with progress_on_stderr() as progress:
        result = write(open_workspace(project), format=format, type=type, to=to, progress=progress)
    show(result, show_exported, as_json=as_json)


def show_exported(result: ExportResult) -> None:
    """The copy and how it was checked."""
    paper, check = result.paper, result.paper["check"]
    low, high = check["interval"]
    what = f"version {paper['number']}" if paper["number"] else f"{paper['run']}, which no gate has judged,"
    stdout.print(
        f"{what} of {paper['project']} as {paper['format']} ({paper['type'] or 'types of the base'}), artefact "
        f"{short(result.artifact)}{' (nothing changed)' if result.reused else ''}\n"
        f"checked through {check['reader']} on {counted(check['tokens'], 'answer token')} of "
        f"{counted(check['rows'], 'held-out row')}: the "
        f"same first token at {check['same'] / check['tokens']:.2%} [{low:.2%}, {high:.2%}], KL {check['mean_kl']:.2g} "
        f"nats on average, {check['max_kl']:.2g} at most",
        soft_wrap=True,
    )
    stdout.print(f"copy {result.folder}", soft_wrap=True)
