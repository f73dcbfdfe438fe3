"""Progress on stderr: a live bar in a terminal, a line now and then elsewhere (logs, CI)."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from tuneward.cli.output import stderr
from tuneward.progress import Progress

SECONDS_BETWEEN_LINES = 15.0

#: Eighths of a cell, and how many cells the curve of a loss takes beside the bar.
BLOCKS, CELLS = "▁▂▃▄▅▆▇█", 24


def duration(seconds: float) -> str:
    """Minutes and seconds, as in 3:07."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def figures_text(figures: dict[str, float | str]) -> str:
    """Figures as a reader wants them beside a bar."""
    parts = []
    for name, value in figures.items():
        if name == "remaining_seconds":
            parts.append(f"{duration(float(value))} left")
        elif name == "tokens_per_second":
            parts.append(f"{float(value):,.0f} tokens/s")
        elif isinstance(value, float):
            parts.append(f"{name.replace('_', ' ')} {value:.3f}")
        else:
            parts.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(parts)


class Sparkline:
    """The course of a value so far, in one line of block letters."""

    def __init__(self, cells: int = CELLS) -> None:
        self._cells, self._each = cells, 1  # values per cell
        self._means: list[tuple[float, int]] = []  # sum and count of each cell

    def add(self, value: float) -> None:
        """Add a value; twice as many go into a cell when the line is full."""
        if not math.isfinite(value):
            return
        if self._means and self._means[-1][1] < self._each:
            total, count = self._means[-1]
            self._means[-1] = (total + value, count + 1)
            return
        if len(self._means) == self._cells:
            pairs = [self._means[at : at + 2] for at in range(0, self._cells, 2)]
            self._means = [(sum(t for t, _ in pair), sum(n for _, n in pair)) for pair in pairs]
            self._each *= 2
        self._means.append((value, 1))

    def __str__(self) -> str:
        """From lowest to highest; a value that never moved is a flat line."""
        means = [total / count for total, count in self._means]
        if len(means) < 2:
            return ""
        low, high = min(means), max(means)
        steps = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
        return "".join(BLOCKS[round((mean - low) * steps)] for mean in means)


class Bar:
    """A live bar with rate, figures, time left and the loss's curve; implements :class:`tuneward.progress.Progress`."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._began = 0.0
        self._curve = Sparkline()
        self._draws = _can_show(BLOCKS, bars.console.encoding)

    def begin(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """See the protocol."""
        self._began, self._curve = time.monotonic(), Sparkline()
        self._task = self._bars.add_task(title, total=total, unit=unit, figures="", curve="")

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """See the protocol."""
        if self._task is None:
            return
        self._bars.advance(self._task, amount)
        task = next(task for task in self._bars.tasks if task.id == self._task)
        if "remaining_seconds" not in figures and task.total and task.completed:
            passed = time.monotonic() - self._began
            figures["remaining_seconds"] = passed * (task.total - task.completed) / task.completed
        if isinstance(loss := figures.get("loss"), float) and self._draws:
            self._curve.add(loss)
        self._bars.update(self._task, figures=figures_text(figures), curve=str(self._curve))

    def say(self, text: str) -> None:
        """See the protocol."""
        self._bars.console.print(text, style="dim", markup=False)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Room for results on stdout: the bars so far stay on the screen as they are, later ones begin below."""
        self._bars.stop()
        for task in self._bars.tasks:
            self._bars.remove_task(task.id)
        self._task = None
        try:
            yield
        finally:
            self._bars.start()

    def end(self) -> None:
        """See the protocol."""
        if self._task is not None:
            self._bars.update(self._task, figures="")
            self._bars.stop_task(self._task)
            self._task = None


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Lines:
    """A line at the beginning, now and then, and at the end, where no terminal is watching."""

    def __init__(self) -> None:
        self._title, self._unit = "", ""
        self._total: int | None = None
        self._done = 0
        self._began = self._printed = 0.0

    def begin(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """See the protocol."""
        self._title, self._unit, self._total, self._done = title, unit, total, 0
        self._began = self._printed = time.monotonic()
        amount = f": {total:,} {unit}" if total else ""
        stderr.print(f"{title}{amount}", markup=False)

    def advance(self, amount: int = 1, **figures: float | str) -> None:
        """See the protocol."""
        self._done += amount
        if time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            of = f"/{self._total}" if self._total else ""
            stderr.print(f"{self._title} {self._done}{of} {figures_text(figures)}", markup=False)

    def say(self, text: str) -> None:
        """See the protocol."""
        stderr.print(text, markup=False)

    def end(self) -> None:
        """See the protocol."""
        if self._title:
            stderr.print(f"{self._title}: done in {duration(time.monotonic() - self._began)}", markup=False)
            self._title = ""


def apart(progress: Progress) -> AbstractContextManager[None]:
    """Where results may be printed while a walk goes on; a live bar would write over them."""
    return progress.apart() if isinstance(progress, Bar) else nullcontext()


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """The progress receiver that fits where stderr goes."""
    if not stderr.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[curve]}", style="cyan"),
        TextColumn("{task.fields[figures]}"),
    )
    with RichProgress(*columns, console=stderr) as bars:
        yield Bar(bars)
