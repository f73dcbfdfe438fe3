"""Commands on drafts: `data draft`, `data review`."""

import os
import sys
from typing import Annotated

import typer
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, show, stderr, stdout
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.data.drafts import Draft, edited
from tuneward.workflows.draft import DraftResult, draft
from tuneward.workflows.review import Decision, ReviewResult, decide_draft, review_result, waiting_drafts
from tuneward.workflows.workspace import Workspace, open_workspace

_KEYS = "a accept  r reject  e edit  s skip  q quit"
#: Ctrl-C, as a terminal without line editing gives it.
_INTERRUPT = "\x03"


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the group `data`."""
    app.command("draft")(draft_command)
    app.command("review")(review_command)


def draft_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Documents, or folders of them.")],
    model: Annotated[str, typer.Option(help="A base that was pulled, by its name; it runs on this machine.")],
    max_tokens: Annotated[int, typer.Option(min=16, max=4096, help="The longest draft.")] = 200,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Let a local model write a question and an answer about each passage; nothing trains until a person accepts."""

    def human(result: DraftResult) -> None:
        stdout.print(
            f"{counted(result.passages, 'passage')}, {result.known:,} of them drafted before: {result.base} wrote "
            f"{counted(result.drafted, 'draft')}, {counted(result.unusable, 'answer was', 'answers were')} no question "
            "with an answer; "
            f"{counted(result.waiting, 'draft waits', 'drafts wait')}"
        )

    with progress_on_stderr() as progress:
        result = draft(open_workspace(project), files, model=model, max_tokens=max_tokens, progress=progress)
    show(result, human, as_json=as_json)


def review_command(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Decide over drafts one by one: a accepts, r rejects, e edits, s skips, q quits; --json lists those that wait."""
    workspace = open_workspace(project)
    show(review_result(workspace) if as_json else _walk(workspace), _print_end, as_json=as_json)


def _walk(workspace: Workspace) -> ReviewResult:
    counts = {"accepted": 0, "rejected": 0, "skipped": 0}
    waiting = waiting_drafts(workspace)
    for number, item in enumerate(waiting, start=1):
        shown = item
        _print_draft(shown, number, len(waiting))
        while (key := _key()) not in ("", "q"):
            if key == "e":
                shown = edited(shown, _line("question"), _line("answer"))
                _print_draft(shown, number, len(waiting))
            elif key == "s":
                counts["skipped"] += 1
                break
            elif key in ("a", "r"):
                decision: Decision = "accepted" if key == "a" else "rejected"
                words = (shown.question, shown.answer) if shown.edited else ("", "")
                decide_draft(workspace, item.id, decision, question=words[0], answer=words[1])
                counts[decision] += 1
                break
            else:
                stderr.print(_KEYS, style="yellow")
        else:
            break
    return review_result(workspace, **counts)


def _print_draft(draft: Draft, number: int, of: int) -> None:
    from tuneward.cli.data import printable  # the group imports this file

    passage = draft.passage
    text = Text.assemble((f"{number} of {of}", "bold"), f"  {draft.id}  {passage.path}:{passage.line}\n")
    text.append(printable(passage.text), style="dim")
    text.append("\nquestion: ", style="bold").append(printable(draft.question))
    text.append("\nanswer: ", style="bold").append(printable(draft.answer))
    stdout.print(text, soft_wrap=True)
    stdout.print(_KEYS, style="cyan")


def _print_end(result: ReviewResult) -> None:
    stdout.print(
        f"{result.accepted:,} accepted, {result.rejected:,} rejected, {result.skipped:,} skipped; "
        f"{len(result.waiting):,} drafts wait"
    )
    if result.file:
        stdout.print(f"accepted rows {result.file}; name them under `data.train` to prepare them", soft_wrap=True)


def _key() -> str:
    """One key from the terminal, at once, or one sign from a pipe; nothing at its end."""
    if not sys.stdin.isatty():
        while (sign := sys.stdin.read(1)).isspace():
            pass
        return sign.lower()
    import termios  # only where there are terminals
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)  # keys that were pressed meanwhile stay
        sign = os.read(descriptor, 1).decode("ascii", "replace").lower()
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
    if sign == _INTERRUPT:
        raise KeyboardInterrupt
    return "q" if sign == "\x04" else sign


def _line(name: str) -> str:
    """A line of other words; blank keeps what is there."""
    if sys.stdin.isatty():
        stdout.print(f"{name} (blank keeps it): ", end="")
    line = sys.stdin.readline()
    return sys.stdin.readline() if line == "\n" and name == "question" and not sys.stdin.isatty() else line
