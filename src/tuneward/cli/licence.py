"""Commands of licences: `licence decide`, `licence list`."""

from typing import Annotated

import typer

from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.workflows import licence as workflow
from tuneward.workflows.licence import DecideResult, LicenceList
from tuneward.workflows.project import PROJECT_FILE, Use, load_project
from tuneward.workflows.workspace import governing_office, open_office

app = typer.Typer(help="Decide under which licence a base is used.", no_args_is_help=True)


@app.command()
def decide(
    licence: Annotated[str, typer.Argument(help="SPDX id or expression, or a name of the table.")],
    reason: Annotated[str, typer.Option(help="Why: what was read, which contract.")],
    base: Annotated[str | None, typer.Option(help="The base; the project's when not given.")] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Record under which licence a base is used; it holds for checks, approvals, AIBOM and NOTICE."""
    use: Use = "internal"
    if (project / PROJECT_FILE).exists():
        settings = load_project(project)
        base, use = base or settings.base, settings.use
    if base is None:
        raise typer.BadParameter("name a base with --base, or stand in a project's folder")

    def human(result: DecideResult) -> None:
        decision = result.decision
        again = " (decided before)" if result.reused else ""
        stdout.print(f"{decision.id}: {result.base} is used under {decision.licence}{again}; use: {decision.use}")
        if decision.stated != decision.licence:
            stdout.print(f"  its files state {decision.stated}")
        if decision.text_known is False:
            stdout.print("  the licence text beside the weights is not one that the table knows: read it")
        for duty in result.duties:
            stdout.print(f"  asks: {duty}")

    office = governing_office(project.resolve())
    show(workflow.decide(office, base, licence, use=use, reason=reason, beside=project), human, as_json=as_json)


@app.command("list")
def list_all(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """List the site's bases, their licences and what those allow."""

    def human(result: LicenceList) -> None:
        rows = table("", "base", "stated", "decided", "by", "reason", "allows")
        for item in result.bases:
            made = item.decision
            decided = (made.licence, made.decided_by, made.reason) if made else ("", "", "")
            rows.add_row(item.base, item.stated, *decided, ", ".join(item.allows))
        stdout.print(rows if result.bases else "no base yet")

    show(workflow.list_licences(open_office(project.resolve())), human, as_json=as_json)
