"""Write the reference pages that come from the code: settings, errors, commands.

`python docs/generate.py` writes them; `python docs/generate.py --check` ends with status 1 when a page is not what the
code says (a test runs that). Prose that is not in the code stands in the pages beside them.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any

import typer.main
from pydantic_core import PydanticUndefined

from tuneward import errors
from tuneward.cli.main import app
from tuneward.configuration import Section
from tuneward.data.fields import Seen
from tuneward.error_codes import CODES
from tuneward.workflows import (
    access,
    approve,
    chat,
    consent,
    data,
    data_diff,
    data_export,
    data_findings,
    data_stats,
    deploy,
    doctor,
    draft,
    evaluate,
    export,
    init,
    licence,
    log,
    prepare,
    pull,
    quickstart,
    register,
    review,
    run,
    selfcheck,
    serve,
    status,
    train,
    verify,
)
from tuneward.workflows.project import Project

DOCS = Path(__file__).parent
MARK = "<!-- written by docs/generate.py from the code; change the docstrings, not this page -->\n"

#: Command → what its ``--json`` prints.
RESULTS: dict[str, type[Any]] = {
    "init": init.InitResult,
    "doctor": doctor.DoctorResult,
    "pull": pull.PullResult,
    "prepare": prepare.PrepareResult,
    "data show": data.RowsShown,
    "data lengths": data.LengthsResult,
    "data stats": data_stats.StatsResult,
    "data findings": data_findings.FindingsResult,
    "data diff": data_diff.DiffResult,
    "data export": data_export.DataExportResult,
    "data draft": draft.DraftResult,
    "data review": review.ReviewResult,
    "data prove": data.RowProven,
    "data check-proof": data.RowProven,
    "consent withdraw": consent.WithdrawResult,
    "consent list": consent.ConsentList,
    "licence decide": licence.DecideResult,
    "licence list": licence.LicenceList,
    "inspect": Seen,
    "approve request": approve.ApprovalResult,
    "approve grant": approve.ApprovalResult,
    "approve refuse": approve.ApprovalResult,
    "approve show": approve.ApprovalResult,
    "approve list": approve.ApprovalList,
    "train": train.TrainResult,
    "selfcheck": selfcheck.SelfcheckResult,
    "evaluate": evaluate.EvaluateResult,
    "register": register.RegisterResult,
    "deploy": deploy.DeployResult,
    "serve": serve.ServeResult,
    "chat": chat.ChatResult,
    "verify": verify.VerifyResult,
    "log": log.LogResult,
    "run": run.RunResult,
    "export": export.ExportResult,
    "status": status.StatusResult,
    "quickstart": quickstart.QuickstartResult,
    "key create": access.KeyResult,
    "key list": access.KeyList,
    "key revoke": access.KeyList,
    "member add": access.MemberList,
    "member list": access.MemberList,
}

#: Commands that are no single call in Python.
CALLS = {
    "chat": "`with tuneward.workflows.chat.conversation(workspace) as line`, each `line.ask(messages)`",
    "serve": "`tuneward.workflows.serve.serve(workspace, ready=…)`; it gives `ready` a `ServeResult`, which is what "
    "`--json` prints",
    "inspect": "`tuneward.workflows.inspect.inspect_files(names, inspector)`; each `Seen` is a line of what "
    "`--json` prints",
    "data check-proof": "`tuneward.data.row_proof.check_row_proof(proof, fingerprint=…)`; `--json` prints the proof as "
    "a `RowProven`",
}

PYTHON = """
From Python, a command is the function that its page names, and what it returns is what `--json` prints:

```python
from pathlib import Path

from tuneward.workflows.status import status
from tuneward.workflows.workspace import open_workspace

workspace = open_workspace(Path("my-project"))  # its `office`, which some functions want, is `workspace.office`
print(status(workspace).next)
```
"""


def pages() -> dict[Path, str]:
    """Every generated page with its text."""
    made = {DOCS / "settings.md": settings_page(), DOCS / "errors.md": errors_page()}
    for name, command in commands().items():
        made[DOCS / "commands" / f"{name.replace(' ', '-')}.md"] = command_page(name, command)
    made[DOCS / "commands" / "README.md"] = command_index()
    return made


def commands() -> dict[str, Any]:
    """Every command by its full name."""
    found: dict[str, Any] = {}

    def collect(group: Any, prefix: str) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                collect(command, f"{prefix}{name} ")
            else:
                found[f"{prefix}{name}"] = command

    collect(typer.main.get_command(app), "")
    return found


def command_index() -> str:
    """One line for each command."""
    lines = [MARK, "# Commands\n", "| command | what it does |", "|---|---|"]
    for name, command in commands().items():
        lines.append(f"| [`tuneward {name}`]({name.replace(' ', '-')}.md) | {_first_sentence(command.help)} |")
    lines.append("\nEvery command takes `--json` and then prints one object on stdout; progress goes to stderr.")
    lines.append(PYTHON)
    lines.append("Exit codes: 0 done; those of [the error tree](../errors.md); 130 stopped by Ctrl-C.")
    return "\n".join(lines) + "\n"


def command_page(name: str, command: Any) -> str:
    """Usage, options and the object that ``--json`` prints."""
    lines = [MARK, f"# `tuneward {name}`\n", (command.help or "").strip() + "\n"]
    usage = [_usage(p) for p in command.params if p.param_type_name == "argument" or p.required]
    lines.append("```\n" + " ".join([f"tuneward {name}", *usage]) + "\n```\n")
    lines += ["| option | meaning |", "|---|---|"]
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [_placeholder(parameter)]
        label = ", ".join(f"`{one}`" for one in names)
        lines.append(f"| {label} | {getattr(parameter, 'help', '') or ''}{_default(parameter)} |")
    result = RESULTS[name]
    lines.append(f"\nFrom Python: {_call(name, result)}:\n")
    lines += _object(result)
    notes = DOCS / "commands" / "notes" / f"{name.replace(' ', '-')}.md"
    if notes.exists():
        lines.append("\n" + notes.read_text(encoding="utf-8").strip())
    return "\n".join(lines) + "\n"


def _call(name: str, result: type[Any]) -> str:
    """The function that gives ``result``, with what it must be given, and what it returns."""
    article = "an" if result.__name__[0] in "AEIOU" else "a"
    returns = f"returns {article} `{result.__name__}`, which is what `--json` prints"
    if name in CALLS:
        return CALLS[name] if result.__name__ in CALLS[name] else f"{CALLS[name]} {returns}"
    module = sys.modules[result.__module__]
    found = [
        function
        for function in vars(module).values()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not function.__name__.startswith("_")
        and typing.get_type_hints(function).get("return") is result
    ]
    function = found[0] if len(found) == 1 else next(f for f in found if name.split()[-1] in f.__name__)
    given = inspect.signature(function).parameters.values()
    needed = ", ".join(p.name for p in given if p.default is p.empty)
    return f"`{module.__name__}.{function.__name__}({needed})` {returns}"


def _placeholder(parameter: Any) -> str:
    return str(parameter.metavar or (parameter.name or "").upper())


def _usage(parameter: Any) -> str:
    """An argument, or an option that must be given, as it stands on a command line."""
    if parameter.param_type_name == "option":
        return f"{parameter.opts[0]} {parameter.opts[0].lstrip('-').upper()}"
    return _placeholder(parameter) if parameter.required else f"[{_placeholder(parameter)}]"


def _default(parameter: Any) -> str:
    """What an option is when it is left out, where its meaning does not say so."""
    if parameter.param_type_name == "option" and parameter.required:
        return " Must be given."
    if isinstance(parameter.show_default, str):
        return f" Left out: {parameter.show_default}."
    if parameter.default is None or isinstance(parameter.default, bool) or parameter.param_type_name == "argument":
        return ""
    return f" Left out: `{parameter.default}`."


def _object(noun: type[Any], seen: frozenset[type[Any]] = frozenset()) -> list[str]:
    lines = ["| field | type | meaning |", "|---|---|---|"]
    inner: list[type[Any]] = []
    documented = _attributes(noun)
    hints = typing.get_type_hints(noun)
    for field in dataclasses.fields(noun):
        lines.append(f"| `{field.name}` | {_type_name(hints[field.name])} | {documented.get(field.name, '')} |")
        inner += [t for t in _dataclasses_in(hints[field.name]) if t not in seen and t not in inner]
    for other in inner:
        lines += [f"\n`{other.__name__}`: {_first_sentence(other.__doc__)}\n", *_object(other, seen | {noun, *inner})]
    return lines


def _attributes(noun: type[Any]) -> dict[str, str]:
    """Field → text, from the Google-style Attributes section."""
    text = re.split(r"\n\s*Attributes:\n", noun.__doc__ or "", maxsplit=1)
    found: dict[str, str] = {}
    name = ""
    for line in text[1].splitlines() if len(text) == 2 else []:
        if match := re.match(r"\s{4,8}(\w+): (.*)", line):
            name = match.group(1)
            found[name] = match.group(2)
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {key: value.replace("|", "\\|") for key, value in found.items()}


def _dataclasses_in(hint: Any) -> list[type[Any]]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [hint]
    return [found for arg in typing.get_args(hint) for found in _dataclasses_in(arg)]


def _type_name(hint: Any) -> str:
    if hint is type(None):
        return "null"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bounds(args[0], [bound for about in args[1:] for bound in getattr(about, "metadata", [about])])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (tuple, list):
        return f"list of {_type_name(args[0])}"
    if origin is typing.Union or origin is types.UnionType:
        return " or ".join(_type_name(arg) for arg in args)
    if (origin is not None and "Mapping" in str(origin)) or origin is dict:
        return "object"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", Any: "any"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def settings_page() -> str:
    """Every setting with type, default and meaning."""
    lines = [MARK, "# Settings of `tuneward.yaml`\n"]
    lines.append("Unknown keys are refused. A setting without a default must be given.\n")
    _section(Project, "", lines)
    lines.append("\n## Environment\n")
    lines += ["| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


ENVIRONMENT = {
    "TUNEWARD_SITE": "the site's folder; without it the nearest `.tuneward` from the project's folder upwards",
    "TUNEWARD_DATABASE_URL": "where records are kept; without it SQLite in the site's folder",
    "TUNEWARD_ACTOR": "who acts; without it the operating system's user",
    "TUNEWARD_API_KEY": "key that `tuneward chat` uses towards a gateway that runs already",
    "TUNEWARD_HUB_ENDPOINT": "address of the hub that `tuneward pull org/name@revision` asks; a mirror of your own",
    "TUNEWARD_HUB_TOKEN": "token for that hub; sent to it alone and never logged",
    "MLFLOW_TRACKING_URI": "address of an MLflow server that is told figures and settings; see `training.tracking`",
    "TUNEWARD_WHEELS": "folder with the catalogue's wheels, for machines without a network",
    "TUNEWARD_TEST_DATA": "optional folder with real data, used by the `real` tests and the e2e example only",
}


def _section(section: type[Section], prefix: str, lines: list[str]) -> None:
    title = f"## `{prefix}`\n" if prefix else "## Top level\n"
    lines += [
        title,
        _first_sentence(section.__doc__) + "\n",
        "| setting | type | default | meaning |",
        "|---|---|---|---|",
    ]
    inner: list[tuple[str, type[Section]]] = []
    for name, field in section.model_fields.items():
        shown = field.alias or name
        default = "**required**" if field.is_required() else ""
        sections = _sections_in(field.annotation)
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            default = "" if isinstance(value, Section) or value is PydanticUndefined else f"`{_yaml(value)}`"
        kind = "section" if sections else _bounds(field.annotation, field.metadata)
        meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
        lines.append(f"| `{shown}` | {kind} | {default} | {meaning} |")
        inner += [(f"{prefix}.{shown}".lstrip("."), found) for found in sections]
    lines.append("")
    for name, found in inner:
        _section(found, name, lines)


def _sections_in(hint: Any) -> list[type[Section]]:
    if isinstance(hint, type) and issubclass(hint, Section):
        return [hint]
    return [found for arg in typing.get_args(hint) for found in _sections_in(arg)]


def _bounds(annotation: Any, metadata: list[Any]) -> str:
    name = _type_name(annotation)
    for bound in metadata:
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if (value := getattr(bound, attribute, None)) is not None:
                name += f" {sign} {value}"
    return name.replace("|", "\\|")


def _yaml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def errors_page() -> str:
    """Every kind of error with its exit status, every code with its meaning."""
    lines = [MARK, "# Errors\n"]
    lines.append("A refusal lists every fault with code, place and cure. Codes are stable and never reused.\n")
    lines += ["| kind | exit status | meaning |", "|---|---|---|"]
    for kind in errors.TunewardError.__subclasses__():
        lines.append(f"| `{kind.__name__}` | {kind.exit_code} | {_first_sentence(kind.__doc__)} |")
    lines += ["\n| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())]
    return "\n".join(lines) + "\n"


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def main() -> None:
    """Write or check every page."""
    check = "--check" in sys.argv
    wrong = []
    for path, text in pages().items():
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                wrong.append(path.name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if wrong:
        sys.exit(f"not what the code says: {', '.join(wrong)}; run `python docs/generate.py`")


if __name__ == "__main__":
    main()
