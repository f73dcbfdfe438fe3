"""Commands of access: `key create | list | revoke` and `member add | list`."""

from typing import Annotated

import typer

from tuneward.cli.output import HERE, Json, ProjectFolder, show, stdout, table
from tuneward.workflows import access
from tuneward.workflows.access import KeyList, KeyResult, MemberList
from tuneward.workflows.workspace import governing_office, open_office

keys = typer.Typer(help="Keys to the gateway.", no_args_is_help=True)
members = typer.Typer(help="Who may act on this site.", no_args_is_help=True)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whom or what the key is for.")],
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Make a key; it is shown this once."""

    def human(result: KeyResult) -> None:
        stdout.print(f"{result.key.id} for {result.key.name}; shown this once:\n{result.text}", soft_wrap=True)

    show(access.create_key(governing_office(project.resolve()), name), human, as_json=as_json)


@keys.command("list")
def list_keys(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """List all keys, revoked ones too."""
    show(access.list_keys(open_office(project.resolve())), _keys, as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id, key_….")],
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Make a key worthless, at once."""
    show(access.revoke_key(governing_office(project.resolve()), key), _keys, as_json=as_json)


@members.command("add")
def add_member(
    name: Annotated[str, typer.Argument(help="The operating system's user name.")],
    role: Annotated[list[str], typer.Option(help="engineer, approver, operator, auditor or owner; may be repeated.")],
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Let somebody act, with exactly these roles."""
    show(access.add_member(governing_office(project.resolve()), name, tuple(role)), _members, as_json=as_json)


@members.command("list")
def list_members(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """List everybody who may act."""
    show(access.list_members(open_office(project.resolve())), _members, as_json=as_json)


def _keys(result: KeyList) -> None:
    rows = table("", "id", "name", "member", "made at (UTC)", "revoked at (UTC)")
    for key in result.keys:
        rows.add_row(key.id, key.name, key.member, key.created_at[:16], (key.revoked_at or "")[:16])
    stdout.print(rows)


def _members(result: MemberList) -> None:
    rows = table("", "name", "roles", "since (UTC)")
    for member in result.members:
        rows.add_row(member.id, ", ".join(member.roles), member.created_at[:16])
    stdout.print(rows)
