"""Processes: children of ours that answer questions in JSON lines, where a machine has cores to spare.

Place on the road: beneath whatever asks many small questions in order, such as inspecting or measuring rows. A child is
a module that reads lines: first its settings, then questions, and writes a line for each (:func:`answer_lines`). What
they answer is what this process would answer; which of them is asked, and in which order they answer, changes nothing.
One that dies, or answers what no child of ours would, or nothing within its time, is done without: its questions, and
all later ones of its share, are answered here.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any, Final, Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")

#: How long a child may take for an answer, and how much longer for each of its question's characters: far beyond what
#: any machine needs, so that only one that was stopped or hangs is ended.
ANSWER_SECONDS: Final = 300.0
_SECONDS_PER_CHARACTER: Final = 1e-4


class Processes(Generic[Question, Answer]):
    """Processes of one module, started when first asked; ended by :meth:`end`, or with this process.

    Attributes:
        count: how many there are.
        lost: how many of them have died, could not be started, answered nonsense, or nothing in time.

    Args:
        module: what ``python -m`` starts.
        settings: the first line that each child reads, a JSON value.
        count: how many.
        written: a question as a JSON value.
        read: an answer from the question and the JSON value that a child wrote; raises ValueError, TypeError or
            KeyError where it is none.
        here: answers in this process; must agree with the children.
        answer_seconds: how long one may take for a short question.
        told: takes a line about a child that was ended because it did not answer; called in a thread of ours.
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
        answer_seconds: float = ANSWER_SECONDS,
        told: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.count, self.lost = count, 0
        self._module, self._settings = module, settings
        self._written, self._read, self._here = written, read, here
        self._answer_seconds, self._told = answer_seconds, told
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
            child = _Child(self._module, self._settings, answer_seconds=self._answer_seconds)
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
                if child.late:
                    self._told(self._late(child))
            child = None
            self.lost += 1
        finally:
            self._idle.put(child)
        if self._ending:
            raise _LostError
        return self._here(question)

    def _late(self, child: "_Child") -> str:
        name = self._module.removeprefix("tuneward.")
        return (
            f"process {child.pid} ({name}) did not answer in {child.late:,.0f} s and was ended; this one does its work"
        )


class _LostError(Exception):
    """A child does not answer any more."""


class _Child:
    """One process: asked by one thread at a time, so that neither side ever waits for the other to read.

    Attributes:
        late: the seconds that it had for the question that it did not answer in time; None where there is none.
    """

    def __init__(self, module: str, settings: object, *, answer_seconds: float) -> None:
        self.late: float | None = None
        self._answer_seconds = answer_seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],  # -P: no module is taken from the folder we were called in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            start_new_session=True,  # Ctrl-C in the terminal is this process's business
        )
        self._send(json.dumps(settings))

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: object) -> Any:
        """The answer.

        Raises:
            _LostError: the process has ended, or did not answer in time and was ended.
        """
        line = json.dumps(question)
        seconds = self._answer_seconds + len(line) * _SECONDS_PER_CHARACTER
        watch = threading.Timer(seconds, self._give_up, [seconds])  # a stopped process neither reads nor writes
        watch.daemon = True
        watch.start()
        try:
            self._send(line)
            return json.loads(self._pipe(self._process.stdout).readline())
        except (OSError, ValueError):
            raise _LostError from None
        finally:
            watch.cancel()

    def end(self) -> None:
        """End the process, whatever it does; returns when it has ended."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was still to be written
                self._pipe(pipe).close()

    def _give_up(self, seconds: float) -> None:
        self.late = seconds
        self._process.kill()

    def _send(self, line: str) -> None:
        pipe = self._pipe(self._process.stdin)
        try:
            pipe.write(line + "\n")
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
