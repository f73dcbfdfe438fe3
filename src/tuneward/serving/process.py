"""EngineProcess: the engine as a child process with a key of its own.

Place on the road: ``workflows/evaluate``, ``deploy`` and ``serve`` start one and speak to it through
``serving/client``. It knows how to start and end a program that prints one ready line; not what the program computes,
so anything that speaks the same routes may stand in (``command``).

The child is held by its standard input: when this process ends in whatever way, ``kill -9`` included, the pipe closes
and the engine ends too. No process group is signalled; the child is ended by its own id.
"""

import contextlib
import json
import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tuneward.error_codes import CODES
from tuneward.errors import Fault, ServingError
from tuneward.modeling.machine import computing
from tuneward.settings import SILENCE

#: The engine of ours. Another program may take its place if it takes the same options and prints the same first line.
ENGINE_COMMAND: tuple[str, ...] = (sys.executable, "-m", "tuneward.serving.engine")
ENGINE_KEY_VARIABLE = "TUNEWARD_ENGINE_KEY"


class EngineProcess:
    """An engine that runs while the ``with`` block runs.

    Args:
        base_folder: folder of the base model, already checked.
        name: model name under which the engine offers the bare base.
        adapters_root: the only folder from which the engine may load adapters.
        log_file: receives everything that the engine prints; appended to.
        precision: ``auto | bf16 | fp32``.
        quantisation: what of the base is kept in four bits; see :class:`tuneward.serving.foundation.Foundation`.
        max_rows: most answers decoded at the same time.
        start_seconds: how long loading the base may take.
        command: program and first arguments.

    Attributes:
        url: ``http://127.0.0.1:PORT`` once started.
        key: bearer key that only this process and its child know; never printed.
        precision: after the start, the precision that the engine reported.
        quantisation: likewise; an engine that reports none keeps no layer in four bits.
    """

    def __init__(
        self,
        base_folder: Path,
        *,
        name: str,
        adapters_root: Path,
        log_file: Path,
        precision: str = "auto",
        quantisation: str = "none",
        max_rows: int = 64,
        start_seconds: float = 300.0,
        command: Sequence[str] = ENGINE_COMMAND,
    ) -> None:
        self._arguments = [
            *command,
            *("--base", str(base_folder), "--name", name, "--port", "0", "--precision", precision),
            *("--max-rows", str(max_rows), "--adapters-root", str(adapters_root)),
            *(() if quantisation == "none" else ("--quantisation", quantisation)),
        ]
        self._start_seconds = start_seconds
        self.log_file = log_file
        self.name = name
        self.precision = precision
        self.quantisation = quantisation
        self.key = secrets.token_urlsafe(32)
        self.url = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process id, or None when none was started."""
        return self._child.pid if self._child else None

    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start the child and wait for its ready line.

        Raises:
            ServingError: with the engine's own faults where it printed some, else with what is known.
        """
        assert self._child is None, "an EngineProcess starts once"
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        environment = {**computing(os.environ), **SILENCE, ENGINE_KEY_VARIABLE: self.key, "PYTHONUNBUFFERED": "1"}
        with self.log_file.open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    self._arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches us alone; we then let running answers end
                )
            except OSError as error:
                raise ServingError(
                    Fault(
                        "TW-SERV-032", f"cannot be started: {error.strerror}", self._arguments[0], "reinstall tuneward"
                    )
                ) from None
        lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        assert self._child.stdout is not None
        self._reader = threading.Thread(
            target=self._drain, args=(self._child.stdout, lines), name="engine-output", daemon=True
        )
        self._reader.start()
        try:
            ready = self._first_event(lines)
            self.url = f"http://127.0.0.1:{int(ready['port'])}"
            self.precision = str(ready.get("precision", self.precision))
            self.quantisation = str(ready.get("quantisation", "none"))
        except BaseException:
            self.stop(grace_seconds=1.0)
            raise

    def _first_event(self, lines: "queue.Queue[dict[str, Any] | None]") -> dict[str, Any]:
        until = time.monotonic() + self._start_seconds
        while True:
            try:
                event = lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise self._not_started(f"was not ready within {self._start_seconds:g} seconds") from None
            if event is None:
                assert self._child is not None
                code = self._child.wait(timeout=10)
                raise self._not_started(f"ended with exit status {code} before it was ready")
            faults = faults_in(event)
            if faults:
                raise ServingError(faults)
            if event.get("event") == "ready":
                return event

    def _not_started(self, what: str) -> ServingError:
        cure = "read the engine's log; `tuneward doctor` names what the machine lacks"
        return ServingError(Fault("TW-SERV-032", f"the engine {what}", str(self.log_file), cure))

    def _drain(self, output: IO[bytes], lines: "queue.Queue[dict[str, Any] | None]") -> None:
        """Pass on the JSON lines and log all others, until the child closes its output.

        A full disk loses lines of the log and nothing else: a child whose output nobody reads would stand still.
        """
        with output, self.log_file.open("ab", buffering=0) as log:
            for line in output:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                if isinstance(event, dict):
                    lines.put(event)
                else:
                    with contextlib.suppress(OSError):
                        log.write(line)
        lines.put(None)

    def check_alive(self) -> None:
        """Raise if the child has ended by itself.

        Raises:
            ServingError: names the log.
        """
        if not self.alive():
            code = self._child.returncode if self._child else None
            raise ServingError(
                Fault(
                    "TW-SERV-033",
                    f"the engine ended by itself (exit status {code})",
                    str(self.log_file),
                    "read the engine's log; out of memory shows as exit status -9",
                )
            )

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """End the child, by its id alone: close its input, then SIGTERM, then SIGKILL. Ended already is fine."""
        child = self._child
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        for end in (None, child.terminate, child.kill):
            if end is not None:
                end()
            try:
                child.wait(timeout=grace_seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        if self._reader is not None:
            self._reader.join(timeout=5.0)


def faults_in(event: dict[str, Any]) -> list[Fault]:
    """The faults that an event of a child process carries; unknown codes become ``TW-SERV-032``."""
    found = event.get("faults")
    if found is None and isinstance(event.get("error"), dict):
        found = event["error"].get("faults")
    return [
        Fault(
            code=item["code"] if item.get("code") in CODES else "TW-SERV-032",
            message=str(item.get("message", "the engine gave no reason")),
            place=str(item.get("place", "")),
            cure=str(item.get("cure", "")),
        )
        for item in found or ()
    ]
