"""Commands about site and machine: `init`, `doctor`, `pull`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tuneward.cli.output import HERE, Json, ProjectFolder, short, show, stdout
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.errors import MachineError
from tuneward.workflows.doctor import DoctorResult
from tuneward.workflows.doctor import doctor as examine
from tuneward.workflows.init import InitResult
from tuneward.workflows.init import init as initialise
from tuneward.workflows.project import PROJECT_FILE, Use, load_project
from tuneward.workflows.pull import PullResult
from tuneward.workflows.pull import pull as fetch
from tuneward.workflows.workspace import governing_office


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the app."""
    app.command()(init)
    app.command()(doctor)
    app.command()(pull)


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder.")] = HERE,
    name: Annotated[str | None, typer.Option(help="The project's name; the folder's name when not given.")] = None,
    as_json: Json = False,
) -> None:
    """Make a site (database, artefact store, keys) and a project file."""

    def human(result: InitResult) -> None:
        made = " and ".join(result.created) or "nothing; all was there"
        stdout.print(f"made {made}\nproject: {result.folder}\nsite:    {result.site}")

    show(initialise(folder, name=name), human, as_json=as_json)


def doctor(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Check this machine, the site and the project; every fault with its cure."""

    def human(result: DoctorResult) -> None:
        styles = {"ok": "green", "note": "yellow", "bad": "red"}
        for check in result.checks:
            mark = (f"{check.verdict:<4}", styles[check.verdict])
            stdout.print(Text.assemble(mark, f" {check.name:<10} {check.says}"))
            if check.cure:
                stdout.print(f"                cure: {check.cure}", style="green")

    result = examine(project)
    show(result, human, as_json=as_json)
    if not result.healthy:
        raise typer.Exit(MachineError.exit_code)


def pull(
    reference: Annotated[
        str | None,
        typer.Argument(help="A catalogue name, org/name@commit, or a folder; the project's base when not given."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence (SPDX id) of a model that does not state one itself.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why that licence; recorded as a decision.")] = "",
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Bring a base model into the site: fetched, checked, converted once, stored by digest."""
    use: Use = "internal"
    if (project / PROJECT_FILE).exists():
        settings = load_project(project)
        reference, use = reference or settings.base, settings.use
    if reference is None:
        raise typer.BadParameter("name a model, or stand in a project's folder")

    def human(result: PullResult) -> None:
        base = result.base
        stdout.print(
            f"{base.name}: {base.architecture}, {base.parameters / 1e6:.0f}M parameters, {base.licence}, "
            f"context {base.context_tokens} tokens\ndigest {short(base.id)}"
            + (f", commit {base.source['revision']}" if "revision" in base.source else "")
            + (" (was there already, bytes checked)" if result.reused else "")
        )

    with progress_on_stderr() as progress:
        result = fetch(
            governing_office(project.resolve()),
            reference,
            use=use,
            licence=licence,
            reason=why,
            beside=project,
            progress=progress,
        )
    show(result, human, as_json=as_json)
