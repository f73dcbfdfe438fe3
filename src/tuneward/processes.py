"""Processes: children of ours that answer questions in JSON lines, where a machine has cores to spare.

Place on the road: beneath whatever asks many small questions in order, such as inspecting or measuring rows. A child is
a module that reads lines: first its settings, then questions, and writes a line for each (:func:`answer_lines`). What
they answer is what this process would answer; which of them is asked, and in which order they answer, changes nothing.
One that dies, or answers what no child of ours would, is done without: its questions, and all later ones of its share,
are answered here.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any, Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Processes(Generic[Question, Answer]):
    """Processes of one module, started when first asked; ended by :meth:`end`, or with this process.

    Attributes:
        count: how many there are.
        lost: how many of them have died, could not be started, or answered nonsense.

    Args:
        module: what ``python -m`` starts.
        settings: the first line that each child reads, a JSON value.
        count: how many.
        written: a question as a JSON value.
        read: an answer from the question and the JSON value that a child wrote; raises ValueError, TypeError or
            KeyError where it is none.
        here: answers in this process; must agree with the children.
    """

    def __init__(
        self,
        module: str,
        settings: object,
        *,
        count: int,
        written: Callable[[Question], object],
        read: Callable[[Question, Any], Answer],
        here: Callable[[Question], Answer],
    ) -> None:
        self.count, self.lost = count, 0
        self._module, self._settings = module, settings
        self._written, self._read, self._here = written, read, here
        self._begun = self._ending = False
        self._children: list[_Child] = []
        self._idle: SimpleQueue[_Child | None] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=module.rpartition(".")[2])

    def submit(self, question: Question) -> "Future[Answer]":
        """Have a question answered."""
        if not self._begun:
            self._begun = True
            for _ in range(self.count):
                self._idle.put(self._started())
        return self._threads.submit(self._ask, question)

    def end(self) -> None:
        """End every process and thread; what was not answered yet is never answered. May be called again."""
        self._ending = True
        for child in self._children:
            child.end()
        self._threads.shutdown(cancel_futures=True)

    def _started(self) -> "_Child | None":
        try:
            child = _Child(self._module, self._settings)
        except (OSError, _LostError):  # no process can be had: then without
            self.lost += 1
            return None
        self._children.append(child)
        return child

    def _ask(self, question: Question) -> Answer:
        child = self._idle.get()
        try:
            if child is not None:
                value = child.ask(self._written(question))
                return self._read(question, value)
        except (_LostError, ValueError, TypeError, KeyError):
            if child is not None:
                child.end()
            child = None
            self.lost += 1
        finally:
            self._idle.put(child)
        if self._ending:
            raise _LostError
        return self._here(question)


class _LostError(Exception):
    """A child does not answer any more."""


class _Child:
    """One process: asked by one thread at a time, so that neither side ever waits for the other to read."""

    def __init__(self, module: str, settings: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],  # -P: no module is taken from the folder we were called in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C in the terminal is this process's business
        )
        self._write(settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: object) -> Any:
        """The answer.

        Raises:
            _LostError: the process has ended.
        """
        self._write(question)
        try:
            return json.loads(self._pipe(self._process.stdout).readline())
        except (OSError, ValueError):
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
        except (OSError, ValueError):
            raise _LostError from None

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def answer_lines(begin: Callable[[Any], Callable[[Any], object]]) -> None:
    """The child's side: read settings, then questions until the input ends, which it does with the parent.

    Args:
        begin: makes from the settings what answers a question; both take and give JSON values.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer = begin(json.loads(next(sys.stdin)))
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()
