"""Workers: processes that inspect texts beside this one, where a machine has cores to spare.

Place on the road: ``prepare`` makes them once and ``data.inspecting`` hands them texts. What they find is what this
process would find; which of them is asked, and in which order they answer, changes nothing. One that dies is done
without: its texts, and all later ones of its share, are inspected here.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from tuneward.domain.finding import Finding
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import Inspector

Found = list[list[Finding]]


class _LostError(Exception):
    """A worker does not answer any more."""


class _Worker:
    """One process: asked by one thread at a time, so that neither side ever waits for the other to read."""

    def __init__(self, config: InspectionConfig, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tuneward.inspection.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C in the terminal is this process's business
        )
        self._write({"settings": config.canonical(), "folder": str(folder.absolute())})

    def ask(self, texts: Sequence[str]) -> Found:
        """What stands in the texts.

        Raises:
            _LostError: the process has ended.
        """
        self._write(list(texts))
        try:
            answer = json.loads(self._pipe(self._process.stdout).readline())
            return [[Finding(*values) for values in found] for found in answer]
        except (OSError, ValueError, TypeError):
            raise _LostError from None

    def end(self) -> None:
        """End the process, whatever it does; returns when it has ended."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was still to be written
                self._pipe(pipe).close()

    def _write(self, value: object) -> None:
        pipe = self._pipe(self._process.stdin)
        try:
            pipe.write(json.dumps(value) + "\n")
            pipe.flush()
        except OSError:
            raise _LostError from None

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class Workers:
    """Processes that inspect, started when first asked; made by :func:`working`.

    Attributes:
        count: how many there are.
        lost: how many of them have died.
    """

    def __init__(self, config: InspectionConfig, folder: Path, *, count: int, inspector: Inspector) -> None:
        self.count, self.lost = count, 0
        self._settings = config, folder
        self._inspector = inspector
        self._begun = self._ending = False
        self._all: list[_Worker] = []
        self._idle: SimpleQueue[_Worker | None] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="inspection")

    def submit(self, texts: Sequence[str]) -> "Future[Found]":
        """Have texts inspected; the result has a list of findings for each."""
        if not self._begun:
            self._begun = True
            for _ in range(self.count):
                self._idle.put(self._started())
        return self._threads.submit(self._inspect, texts)

    def end(self) -> None:
        """End every process and thread; what was not answered yet is never answered. May be called again."""
        self._ending = True
        for worker in self._all:
            worker.end()
        self._threads.shutdown(cancel_futures=True)

    def _started(self) -> _Worker | None:
        try:
            worker = _Worker(*self._settings)
        except (OSError, _LostError):  # no process can be had: then without
            self.lost += 1
            return None
        self._all.append(worker)
        return worker

    def _inspect(self, texts: Sequence[str]) -> Found:
        worker = self._idle.get()
        try:
            if worker is not None:
                return worker.ask(texts)
        except _LostError:
            worker = None
            self.lost += 1
        finally:
            self._idle.put(worker)
        return [] if self._ending else [self._inspector.inspect(text) for text in texts]


@contextmanager
def working(config: InspectionConfig, folder: Path, *, count: int, inspector: Inspector) -> Iterator[Workers | None]:
    """Workers that end with the block; None where fewer than two are asked for.

    Args:
        config: the project's ``inspection`` section.
        folder: the folder that names of term lists start from.
        count: processes.
        inspector: what the same settings make in this process.
    """
    if count < 2:
        yield None
        return
    workers = Workers(config, folder, count=count, inspector=inspector)
    try:
        yield workers
    finally:
        workers.end()
