"""Commands of consent: `consent withdraw`, `consent list`."""

from typing import Annotated

import typer

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.domain.law import Affected
from tuneward.workflows import consent as workflow
from tuneward.workflows.consent import ConsentList, Named, Withdrawn, WithdrawResult
from tuneward.workflows.workspace import governing_office, open_office

app = typer.Typer(help="Record withdrawn consents and see what they affect.", no_args_is_help=True)


@app.command()
def withdraw(
    name: Annotated[str, typer.Argument(help="The consent's reference or the data subject, as the files write it.")],
    subject: Annotated[bool, typer.Option("--subject", help="It names a data subject.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="It names a consent.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the record, so no names in it.")] = "",
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Record that a consent was withdrawn; mark every dataset, run and model made from its rows."""
    if subject and reference:
        raise typer.BadParameter("--subject or --reference, not both")
    named: Named | None = "subject" if subject else "reference" if reference else None

    def human(result: WithdrawResult) -> None:
        for one in result.withdrawn:
            _one(one)
        if result.reused:
            stdout.print("it was recorded before; nothing new is affected")
        elif any(marked.kind == "deployment" for one in result.withdrawn for marked in one.marks):
            stdout.print("a gateway that runs goes on: stop it, or deploy a version without these rows")

    office = governing_office(project.resolve())
    show(workflow.withdraw(office, name, named=named, reason=reason), human, as_json=as_json)


@app.command("list")
def list_all(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """List withdrawn consents and everything that is affected."""

    def human(result: ConsentList) -> None:
        for one in result.withdrawn:
            _one(one)
            rows = table("", "affected", "id", "rows behind it", "marked at (UTC)")
            for marked in one.marks:
                rows.add_row(marked.kind, _short(marked), f"{marked.rows:,}", marked.marked_at[:16])
            if one.marks:
                stdout.print(rows)
        if not result.withdrawn:
            stdout.print("no consent was withdrawn")

    show(workflow.withdrawn(open_office(project.resolve())), human, as_json=as_json)


def _one(one: Withdrawn) -> None:
    record = one.withdrawal
    what = ", ".join(counted(number, kind) for kind, number in one.counts.items())
    stdout.print(
        f"{record.id} ({one.named}), recorded by {record.recorded_by} at {record.recorded_at[:16]} UTC"
        f"{': ' + record.reason if record.reason else ''}\n  affected: {what or 'nothing'}",
        soft_wrap=True,
    )


def _short(marked: Affected) -> str:
    return marked.noun if len(marked.noun) < 40 else marked.noun[:12]
