"""The command `tuneward`: gathers the command groups and turns errors into exit codes, once.

Exit codes are those of the error tree (``errors.py``); 130 says that Ctrl-C stopped the work.
"""

from tuneward.settings import silence

silence()

import json  # noqa: E402  (libraries are imported only after telemetry is off)
import sys  # noqa: E402
from typing import Any  # noqa: E402

import typer  # noqa: E402

from tuneward import __version__  # noqa: E402
from tuneward.cli import access, approve, proof, quickstart, road, serve, site  # noqa: E402
from tuneward.cli.output import print_error, stderr  # noqa: E402
from tuneward.errors import ConfigError, Fault, TunewardError  # noqa: E402

#: What typer raises for a wrong command line. Newer versions carry click inside, older ones import it.
UsageProblem: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="tuneward",
    help="Private fine-tuning with proof. Start with `tuneward quickstart` or `tuneward init`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for group in (quickstart, site, road, serve, proof):
    group.add_to(app)
app.add_typer(approve.app, name="approve")
app.add_typer(access.keys, name="key")
app.add_typer(access.members, name="member")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"tuneward {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    try:
        code: Any = app(args=arguments, prog_name="tuneward", standalone_mode=False)
    except TunewardError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except UsageProblem as error:
        message = error.format_message()  # type: ignore[attr-defined]
        usage = ConfigError(Fault("TW-CONF-007", message, "command line", "see `tuneward --help`"))
        print_error(usage, as_json=as_json)
        sys.exit(usage.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        if as_json:
            typer.echo(json.dumps({"error": {"kind": "Interrupted", "faults": []}}))
        stderr.print("stopped; nothing is lost: the same command goes on from here", style="yellow")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
