"""The command `inspect`."""

import dataclasses
import json
from collections import Counter
from typing import Annotated

import typer
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli.output import ReaderLeftError, stdout
from tuneward.data.fields import Seen
from tuneward.errors import ConfigError, Fault, TunewardError
from tuneward.workflows.inspect import inspect_files, inspector_for

#: Exit code of ``--fail`` where something was found.
FOUND = 1


def add_to(app: typer.Typer) -> None:
    """Hang the command into the app."""
    app.command("inspect")(inspect_command)


def inspect_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files or folders; - is standard input.")],
    terms: Annotated[
        list[str] | None, typer.Option(help="A list of terms, one a line; may be given again.", metavar="NAME=FILE")
    ] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="An expression (RE2); may be given again.", metavar="NAME=REGEX")
    ] = None,
    views: Annotated[bool, typer.Option(help="Also read texts normalised and decoded.")] = True,
    minimum_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0, max=1, help="Pass over findings below it.")
    ] = 0.0,
    stdin_format: Annotated[
        str | None, typer.Option("--format", help="What standard input is: txt, jsonl, csv…", show_default="guessed")
    ] = None,
    context: Annotated[bool, typer.Option("--show", help="Show the text around each finding, redacted.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="End with status 1 where anything is found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")] = False,
) -> None:
    """Find personal data, secrets and marks in any file that is read, without a project; the text is never printed."""
    inspector = inspector_for(
        terms=_named(terms or [], "--terms"),
        patterns=_named(pattern or [], "--pattern"),
        views=views,
        minimum_confidence=minimum_confidence,
    )
    kinds: Counter[str] = Counter()
    try:
        for seen in inspect_files(files, inspector, stdin_format=stdin_format, contexts=context):
            kinds[seen.kind] += 1
            _print(seen, as_json=as_json)
    except TunewardError as error:
        if not as_json:
            raise
        _echo(json.dumps(error.to_json(), ensure_ascii=False))
        raise typer.Exit(error.exit_code) from None
    if not as_json:
        listed = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
        stdout.print(f"{counted(kinds.total(), 'finding')}: {listed}" if kinds else "nothing found")
    if fail and kinds:
        raise typer.Exit(FOUND)


def _print(seen: Seen, *, as_json: bool) -> None:
    if as_json:
        value = dataclasses.asdict(seen)
        _echo(json.dumps({name: v for name, v in value.items() if v is not None}, ensure_ascii=False))
        return
    view = "" if seen.view == "raw" else f"  seen as {seen.view}"
    place = f"{seen.field} {seen.start}\N{EN DASH}{seen.end}"
    line = Text.assemble((seen.record, "bold"), f"  {place}  {seen.kind}  {seen.confidence:.2f}  {seen.rule}{view}")
    stdout.print(line, soft_wrap=True)
    if seen.context is not None:
        stdout.print(Text(f"    … {seen.context} …", style="dim"), soft_wrap=True)


def _echo(line: str) -> None:
    try:
        typer.echo(line)
    except BrokenPipeError:
        raise ReaderLeftError from None


def _named(given: list[str], option: str) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping.

    Raises:
        ConfigError: one is not of that form, or a name is given twice; all faults at once.
    """
    named: dict[str, str] = {}
    faults = []
    for number, text in enumerate(given, start=1):
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            faults.append(Fault("TW-CONF-007", f"number {number} is not NAME=…", option, "as in customers=list.txt"))
        elif name in named:
            faults.append(Fault("TW-CONF-007", f"the name `{name}` is given twice", option, "give each its own"))
        named[name] = value
    if faults:
        raise ConfigError(faults)
    return named
