"""What commands print: results on stdout (for people, or one JSON object with ``--json``), all else on stderr."""

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuneward.errors import TunewardError

#: Columns where no terminal tells its width: wide enough that no id is broken.
PLAIN_WIDTH = 160


class ReaderLeftError(Exception):
    """Nobody reads stdout any more (`| head`). No OSError: of that, rich and click would make the exit code 1."""


class _Stream(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderLeftError


#: Names, reasons and answers are printed as they are: square brackets and colons in them are no markup.
stdout = _Stream(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
stderr = _Stream(
    stderr=True, highlight=False, markup=False, emoji=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
HERE = Path()

_project = HERE


def _remember(folder: Path) -> Path:
    """Keep which project a command is about, so that the next one is told for the same."""
    global _project
    _project = folder
    return folder


ProjectFolder = Annotated[
    Path,
    typer.Option(
        "--project", "-p", help="The project's folder.", show_default="the current folder", callback=_remember
    ),
]

R = TypeVar("R")


def show(result: R, human: Callable[[R], None], *, as_json: bool) -> None:
    """Print a workflow's result, and in human form the next command."""
    if as_json:
        print_json(plain(result))
        return
    human(result)
    if following := getattr(result, "next", ""):
        stdout.print(Text.assemble("next: ", (runnable(_for_project(following)), "bold")), soft_wrap=True)


def _for_project(command: str) -> str:
    """``command`` for the project that this one was told to work on."""
    if _project == HERE or not command.startswith("tuneward ") or " --project " in command:
        return command
    return f"{command} --project {shlex.quote(str(_project))}"


def runnable(command: str) -> str:
    """``command`` as it can be typed here: with the program's path where the shell would not find it."""
    program = Path(sys.argv[0])
    if not command.startswith("tuneward ") or shutil.which("tuneward") or program.name != "tuneward":
        return command
    return shlex.quote(str(program.absolute())) + command.removeprefix("tuneward")


def print_json(value: Any) -> None:
    """Print one JSON value on stdout.

    Raises:
        ReaderLeftError: nobody reads it.
    """
    try:
        typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
    except BrokenPipeError:
        raise ReaderLeftError from None


def nobody_reads() -> None:
    """Send everything that is still to go to stdout nowhere: its reader (`| head`) has left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def plain(value: Any) -> Any:
    """A result as JSON values: dataclasses become objects, tuples lists, paths text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def print_error(error: TunewardError, *, as_json: bool) -> None:
    """Print every fault: as the documented object on stdout with ``--json``, else readable on stderr."""
    if as_json:
        print_json(error.to_json())
        return
    count = len(error.faults)
    stderr.print(f"{'refused' if count == 1 else f'refused, for {count} reasons'}:", style="bold red")
    for fault in error.faults:
        where = f"{fault.place}: " if fault.place else ""
        stderr.print(f"  {fault.code}  {where}{fault.message}")
        if fault.cure:
            stderr.print(f"      cure: {fault.cure}", style="green", soft_wrap=True)


def table(title: str, *columns: str) -> Table:
    """An empty table in the house's style."""
    named = any(columns)
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", show_header=named)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def short(digest: str) -> str:
    """The first twelve characters of a digest or the whole of a short id."""
    return digest[:12] if len(digest) == 64 else digest
