"""Any time: read the audit log, and export a signed checkpoint of it, once or regularly."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tuneward.domain.audit import AuditEvent
from tuneward.errors import TunewardError
from tuneward.governance.audit import checkpoint, newest_events, uncovered
from tuneward.governance.change import Office
from tuneward.progress import SILENT, Progress


@dataclass(frozen=True)
class LogResult:
    """A stretch of the log, oldest first.

    Attributes:
        events: the events.
        next: the command that comes next.
    """

    events: tuple[AuditEvent, ...]
    next: str = "tuneward verify"


@dataclass(frozen=True)
class CheckpointResult:
    """An exported checkpoint.

    Attributes:
        note: the signed note (C2SP tlog-checkpoint): origin, size, root, signature. Keep a copy elsewhere: it makes
            every later change to the events that it covers detectable, with ``tuneward verify --checkpoint FILE``.
        next: the command that comes next.
    """

    note: str
    next: str = "keep this note where this site cannot write"


def read_log(office: Office, *, last: int = 20, subject: str | None = None) -> LogResult:
    """The newest ``last`` events, of one subject or of all."""
    wanted: dict[str, Any] = {"subject": subject} if subject else {}
    with office.site.database.read() as c:
        return LogResult(events=tuple(newest_events(c, last=last, **wanted)))


def export_checkpoint(office: Office) -> CheckpointResult:
    """Sign the log's size and root as they are now.

    Raises:
        ProofError: the log contradicts an earlier checkpoint; nothing is signed then.
    """
    return CheckpointResult(note=checkpoint(office))


@contextmanager
def regular_checkpoints(office: Office, *, every_seconds: float, progress: Progress = SILENT) -> Iterator[None]:
    """Sign the log every so many seconds while the block runs, where events were added since.

    One that cannot be signed is told once, and tried again at the next turn: whoever is served is served on.
    """
    ended = threading.Event()

    def turns() -> None:
        told = ""
        while not ended.wait(every_seconds):
            try:
                if uncovered(office.site):
                    checkpoint(office)
                told = ""
            except TunewardError as error:
                why = error.faults[0].message
                if told != why:
                    progress.say(f"no checkpoint of the log was signed: {why}")
                told = why

    thread = threading.Thread(target=turns, name="checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
