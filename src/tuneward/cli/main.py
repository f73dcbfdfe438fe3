"""The command `tuneward`: gathers the command groups and turns errors into exit codes, once.

Exit codes are those of the error tree (``errors.py``); 130 says that Ctrl-C or SIGTERM stopped the work, 141 that
whoever read stdout has left.
"""

from tuneward.cli.streams import open_missing
from tuneward.settings import silence

open_missing()
silence()

import signal  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import traceback  # noqa: E402
from contextlib import suppress  # noqa: E402
from inspect import getdoc  # noqa: E402  (libraries are imported only after telemetry is off)
from pathlib import Path  # noqa: E402
from types import FrameType  # noqa: E402
from typing import Any  # noqa: E402

import typer  # noqa: E402

from tuneward import __version__  # noqa: E402
from tuneward.cli import (  # noqa: E402
    access,
    approve,
    consent,
    data,
    export,
    inspect,
    licence,
    proof,
    quickstart,
    road,
    selfcheck,
    serve,
    site,
)
from tuneward.cli.output import ReaderLeftError, nobody_reads, print_error, print_json, stderr  # noqa: E402
from tuneward.errors import ConfigError, Fault, StorageError, TunewardError  # noqa: E402
from tuneward.storage.files import fault_of  # noqa: E402

#: What typer raises for a wrong command line. Newer versions carry click inside, older ones import it.
UsageProblem: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

#: Exit code of a command that Ctrl-C or SIGTERM stopped: 128 + SIGINT.
STOPPED = 130

#: Exit code when nobody reads stdout any more: 128 + SIGPIPE.
READER_LEFT = 141

app = typer.Typer(
    name="tuneward",
    help="Private fine-tuning with proof. Start with `tuneward quickstart` or `tuneward init`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for group in (quickstart, site, road, selfcheck, serve, proof, export, inspect):
    group.add_to(app)
app.add_typer(approve.app, name="approve")
app.add_typer(consent.app, name="consent")
app.add_typer(data.app, name="data")
app.add_typer(licence.app, name="licence")
app.add_typer(access.keys, name="key")
app.add_typer(access.members, name="member")
for commands in (app, approve.app, data.app, access.keys, access.members):
    for command in commands.registered_commands:  # told whole in the list of commands, where typer would cut it
        command.short_help = (getdoc(command.callback) or "").partition("\n\n")[0]


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"tuneward {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code.

    When the reader of stdout leaves early (`| head`), the exit code is the one that SIGPIPE gives any other program: no
    fault is told, and a chain that was not walked to its end does not pass for verified.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (ReaderLeftError, BrokenPipeError):
        nobody_reads()
        code = READER_LEFT
    except OSError as error:  # what stdout or stderr leads to takes nothing more: a full disk
        nobody_reads()
        with suppress(OSError):
            print_error(StorageError(fault_of(error)), as_json=False)
        code = StorageError.exit_code
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        _refuse_broken_text(arguments)
        code: Any = app(args=arguments, prog_name="tuneward", standalone_mode=False)
        if code == STOPPED:  # typer turns Ctrl-C into this
            raise KeyboardInterrupt
    except TunewardError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except UsageProblem as error:
        message = error.format_message()  # type: ignore[attr-defined]
        usage = ConfigError(Fault("TW-CONF-007", message, "command line", "see `tuneward --help`"))
        print_error(usage, as_json=as_json)
        return usage.exit_code
    except (KeyboardInterrupt, typer.Abort):
        if as_json:
            print_json({"error": {"kind": "Interrupted", "faults": []}})
        stderr.print("stopped; nothing is lost: the same command goes on from here", style="yellow")
        return STOPPED
    except (ReaderLeftError, BrokenPipeError):
        raise
    except OSError as error:
        storage = StorageError(fault_of(error))
        print_error(storage, as_json=as_json)
        return storage.exit_code
    except Exception as error:  # a defect of ours; its text may quote a row, so only its kind and place are told
        defect = TunewardError(_defect(error))
        print_error(defect, as_json=as_json)
        return defect.exit_code
    return code if isinstance(code, int) else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM stops the work as Ctrl-C does, so that child processes are ended and left-overs removed."""
    raise KeyboardInterrupt


def _refuse_broken_text(arguments: list[str]) -> None:
    faults = []
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:  # bytes that were no UTF-8 came in as half characters
            place = f"argument {number}"
            faults.append(Fault("TW-CONF-007", "is not UTF-8", place, "use a UTF-8 terminal, or rename the file"))
    if faults:
        raise ConfigError(faults)


def _defect(error: Exception) -> Fault:
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    places = [f"{path.parent.name}/{path.name}:{line}" for path, line in frames if "tuneward" in path.parts]
    what = f"an error inside Tuneward: {type(error).__name__}"
    return Fault("TW-ENV-002", what, " < ".join(reversed(places[-4:])), "report it with this line; try again")


if __name__ == "__main__":
    main()
