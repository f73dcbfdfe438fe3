"""Commands of serving: `serve` and `chat`."""

import sys
from typing import Annotated

import typer

from tuneward.cli.output import HERE, Json, ProjectFolder, ReaderLeftError, nobody_reads, show, stderr, stdout
from tuneward.cli.progress_bar import progress_on_stderr
from tuneward.domain.record import Message
from tuneward.errors import DataError, Fault
from tuneward.workflows.chat import ChatResult, Conversation, conversation
from tuneward.workflows.serve import ServeResult
from tuneward.workflows.serve import serve as run_gateway
from tuneward.workflows.workspace import open_workspace


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the app."""
    app.command()(serve)
    app.command()(chat)


def serve(
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Serve every active deployment behind an OpenAI-compatible gateway, until Ctrl-C."""

    def human(result: ServeResult) -> None:
        stdout.print(f"serving {', '.join(result.models)} at {result.url}; Ctrl-C stops it")
        if result.key:
            stdout.print(f"key (shown this once): {result.key}", soft_wrap=True)
        else:
            stdout.print("the site has a key; if nobody kept it, `tuneward key create NAME` makes another")

    def ready(result: ServeResult) -> None:
        try:
            show(result, human, as_json=as_json)
        except ReaderLeftError:  # `| head -1`: whoever started us has the address; the clients have not left
            nobody_reads()
            stderr.print(f"nobody reads stdout any more; serving on at {result.url}; `tuneward key create` makes a key")

    with progress_on_stderr() as progress:
        run_gateway(open_workspace(project), port=port, ready=ready, progress=progress)


def chat(
    message: Annotated[
        str | None,
        typer.Argument(help="One message; `-` reads it from stdin, as a pipe does; without it, a conversation."),
    ] = None,
    history: Annotated[bool, typer.Option(help="Send earlier turns along.")] = False,
    url: Annotated[
        str | None, typer.Option(help="The gateway's address; the site's running gateway when not given.")
    ] = None,
    project: ProjectFolder = HERE,
    as_json: Json = False,
) -> None:
    """Talk to the deployed model through the gateway; every answer can be verified."""
    workspace = open_workspace(project)
    piped = message is None and not sys.stdin.isatty()  # a mail has blank lines: what is piped in is one message
    text = sys.stdin.read() if piped or message == "-" else message
    if text is not None and not text.strip():
        raise DataError(
            Fault("TW-DATA-031", "the message is empty", "command line", 'say something: tuneward chat "…"')
        )
    with progress_on_stderr() as progress, conversation(workspace, url=url, progress=progress) as line:
        if text is not None:
            show(line.ask((Message("user", text),)), _answer, as_json=as_json)
            return
        stderr.print(
            "Write or paste a message, end it with two empty lines. Ctrl-D ends the conversation.", style="dim"
        )
        _converse(line, history=history, as_json=as_json)


def _converse(line: Conversation, *, history: bool, as_json: bool) -> None:
    turns: list[Message] = []
    while text := _read_message():
        turns = [*turns, Message("user", text)] if history else [Message("user", text)]
        result = line.ask(tuple(turns))
        turns.append(Message("assistant", result.answer))
        show(result, _answer, as_json=as_json)


def _read_message() -> str:
    """Lines up to two empty ones, since mails have single ones; empty at the end of input."""
    stderr.print("> ", end="")
    lines: list[str] = []
    for raw in sys.stdin:
        line = raw.rstrip()
        if lines and not line and not lines[-1]:
            break
        if line or lines:
            lines.append(line)
    return "\n".join(lines).strip()


def _answer(result: ChatResult) -> None:
    stdout.print(result.answer, soft_wrap=True)
