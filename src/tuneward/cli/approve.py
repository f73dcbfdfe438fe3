"""Commands of approval: `approve request | grant | refuse | list | show`."""

import json
from typing import Annotated

import typer

from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.workflows import approve as workflow
from tuneward.workflows.approve import ApprovalList, ApprovalResult
from tuneward.workflows.workspace import open_office, open_workspace

app = typer.Typer(help="Ask for permission to train, grant or refuse it.", no_args_is_help=True)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The request, apr_….")]
Reason = Annotated[str, typer.Option(help="Why; kept in the record.")]


@app.command()
def request(
    justification: Annotated[str, typer.Option("--why", help="Why this use is wanted and proportionate.")],
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Ask for permission to train what stands in the project now."""
    show(workflow.request(open_workspace(project), justification), _one, as_json=as_json)


@app.command()
def grant(approval: Identifier, reason: Reason, project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Say yes."""
    workspace = open_workspace(project)
    show(workflow.grant(workspace.office, approval, reason), _one, as_json=as_json)


@app.command()
def refuse(approval: Identifier, reason: Reason, project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Say no."""
    workspace = open_workspace(project)
    show(workflow.refuse(workspace.office, approval, reason), _one, as_json=as_json)


@app.command(name="show")
def show_one(approval: Identifier, project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Show one request with all that it asks for."""
    show(workflow.show(open_office(project.resolve()), approval), _one, as_json=as_json)


@app.command(name="list")
def list_all(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """List the site's requests, newest first."""

    def human(result: ApprovalList) -> None:
        rows = table("", "id", "project", "status", "asked by", "decided by", "asked at (UTC)")
        for item in result.approvals:
            rows.add_row(
                item.id, item.project, item.status, item.requested_by, item.decided_by or "", item.requested_at[:16]
            )
        stdout.print(rows if result.approvals else "no requests yet")

    show(workflow.list_requests(open_office(project.resolve())), human, as_json=as_json)


def _one(result: ApprovalResult) -> None:
    approval = result.approval
    own = " (the requester's own grant, as the policy allows)" if approval.self_granted else ""
    stdout.print(f"{approval.id}: {approval.status}{own}")
    stdout.print(f"  asked by {approval.requested_by} at {approval.requested_at[:16]} UTC: {approval.justification}")
    if approval.decided_by:
        stdout.print(f"  decided by {approval.decided_by}: {approval.reason}")
    scope = approval.scope
    stdout.print(f"  risk {approval.risk_class}, use {scope['use']}, base {scope['base']['name']}")
    stdout.print(f"  purpose: {scope['purpose']}")
    data, adapter = scope.get("data") or {}, scope["training"]["adapter"]
    stdout.print(f"  legal basis {data.get('legal_basis') or 'not stated'}, data fingerprint {scope['dataset']}")
    what = "every weight" if adapter["kind"] == "full" else f"{adapter['kind']} of rank {adapter['rank']}"
    method = scope["training"].get("method", "sft")
    epochs = scope["training"]["epochs"]
    stdout.print(f"  trains {what} by {method}, {epochs:g} epoch{'' if epochs == 1 else 's'}")
    if start := scope.get("start"):
        stdout.print(f"  begins with {scope['training']['start']}, digest {start}")
    bounds = {
        name: {k: v for k, v in rule.items() if v is not None} for name, rule in scope["evaluation"]["gate"].items()
    }
    stdout.print(f"  gate {json.dumps(bounds)}; every setting: --json")
