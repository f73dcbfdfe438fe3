"""A command of ours in a process of its own that is stopped at one exact point, and what it leaves on the machine.

The point lies in the code, not in time: a function of ours is wrapped, and sends the signal to its own process the
n-th time it is reached. Processes are forked from one server that has imported the program already.
"""

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.cli.main import main
from tuneward.governance.change import Change
from tuneward.serving.client import EngineClient
from tuneward.serving.process import EngineProcess
from tuneward.storage.artifacts import Artifacts
from tuneward.workflows.gateway import Gateway

SECONDS_TO_END = 10.0
KILL, INT, TERM = signal.SIGKILL, signal.SIGINT, signal.SIGTERM

#: What the steps import late, and the server at once.
IMPORTED = ("tuneward.modeling.pull", "tuneward.modeling.chat", "tuneward.modeling.base_model")

#: Point → class and method that is wrapped, whether it is stopped before or after it, and how a call is recognised.
POINTS: dict[str, tuple[type[Any], str, str, Callable[..., object]]] = {
    "commit": (Change, "_close", "before", lambda made, office, action, subject: action),
    "stored": (Artifacts, "_install", "after", lambda *arguments: "any"),
    "engine": (EngineProcess, "start", "after", lambda *arguments: "started"),
    "asked": (EngineClient, "chat", "after", lambda *arguments, **options: "once"),
    "served": (Gateway, "check", "after", lambda *arguments: "once"),
}


@dataclass(frozen=True)
class Stop:
    """Where and how a command is stopped.

    Attributes:
        point: one of ``POINTS``.
        name: which call of it, such as an action.
        signal: what is sent.
    """

    point: str
    name: str
    signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.signal.name} at {self.point} {self.name}"


def run_stopped(folder: Path, arguments: tuple[str, ...], stop: Stop | None) -> tuple[int, list[int]]:
    """Run one command until it is stopped; what it prints goes into ``said`` beside the folder.

    Returns:
        The exit code, negative for a signal; and the processes that it had started and that outlived it by more than
        ten seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED])
    children = folder.parent / "children"
    children.write_text("", encoding="utf-8")
    process = context.Process(target=_command, args=(folder, arguments, stop, children))
    process.start()
    process.join()
    left = [int(line) for line in children.read_text(encoding="utf-8").split()]
    until = time.monotonic() + SECONDS_TO_END
    while (left := [child for child in left if _runs(child)]) and time.monotonic() < until:
        time.sleep(0.05)
    assert process.exitcode is not None
    return process.exitcode, left


def _command(folder: Path, arguments: tuple[str, ...], stop: Stop | None, children: Path) -> None:
    os.environ["TUNEWARD_ACTOR"] = "ada"
    said = os.open(folder.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    _note_children(children)
    if stop is not None:
        _arm(stop)
    main([*arguments, "--project", str(folder)] if arguments[0] != "init" else [*arguments, str(folder)])


def _arm(stop: Stop) -> None:
    owner, method, when, name_of = POINTS[stop.point]
    plain = getattr(owner, method)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        here = name_of(*arguments, **options) == stop.name
        if here and when == "before":
            os.kill(os.getpid(), stop.signal)
        result = plain(*arguments, **options)
        if here and when == "after":
            os.kill(os.getpid(), stop.signal)
        return result

    setattr(owner, method, wrapped)


def _note_children(children: Path) -> None:
    plain = subprocess.Popen.__init__

    def noted(self: Any, *arguments: Any, **options: Any) -> None:
        plain(self, *arguments, **options)
        with children.open("a", encoding="utf-8") as handle:
            handle.write(f"{self.pid}\n")

    subprocess.Popen.__init__ = noted  # type: ignore[method-assign]


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
