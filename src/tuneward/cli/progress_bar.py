"""Progress on stderr: a live bar in a terminal, a line now and then elsewhere (logs, CI)."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from tuneward.cli.output import stderr
from tuneward.progress import Progress

SECONDS_BETWEEN_LINES = 15.0

#: Eighths of a cell, and how many cells the curve of a loss takes beside the bar.
BLOCKS, CELLS = "▁▂▃▄▅▆▇█", 24
#: What a bar is drawn with, and where the terminal cannot show that; its least and most cells.
DRAWN, DRAWN_PLAINLY = ("━", "─"), ("#", "-")
LEAST_BAR, MOST_BAR = 8, 30
_BYTES = "B"


def duration(seconds: float) -> str:
    """Minutes and seconds, as in 3:07; hours before them where there are any, as in 1:06:40."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def amount_text(done: float, total: float | None, unit: str) -> str:
    """How much is done, as in ``301/1,250 steps``; bytes in MB."""
    if unit == _BYTES and max(done, total or 0) >= 1e6:
        done, total, unit = done / 1e6, None if total is None else total / 1e6, "MB"
    of = "" if total is None else f"/{total:,.0f}"
    return f"{done:,.0f}{of} {unit}".rstrip()


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


def fitted(
    title: str,
    amount: str,
    *,
    elapsed: str,
    curve: str,
    figures: list[str],
    share: float | None,
    width: int,
    drawn: tuple[str, str] = DRAWN,
) -> Text:
    """One line about a part of the work, no wider than ``width`` cells.

    A long title is cut to a third of the line where it must be. What does not fit is left out, what matters least
    first: the curve, figures between the first (the loss) and the last (the time left), the time so far, the bar, the
    first figure.

    Args:
        title: of the part.
        amount: how much is done.
        elapsed: the time so far.
        curve: of the loss.
        figures: the most wanted one first, the second most wanted one last.
        share: of the work that is done, from 0 to 1; None where the whole is not known.
        width: cells.
        drawn: characters of a bar, done and to be done.
    """
    longest = max(width // 3, 12)
    first, between, last = figures[:1], figures[1:-1], figures[-1:] if len(figures) > 1 else []
    bar = LEAST_BAR if share is not None else 0

    def parts() -> list[str]:
        return [title, "━" * bar, amount, elapsed, curve, ", ".join([*first, *between, *last])]

    def cells() -> int:
        return len(" ".join(filter(None, parts())))

    if cells() > width and len(title) > longest:
        title = f"{title[: longest - 1]}…"
    if cells() > width:
        curve = ""
    while between and cells() > width:
        between = between[:-1]
    if cells() > width:
        elapsed = ""
    if cells() > width:
        bar = 0
    if cells() > width:
        first = []
    if cells() > width:
        last = []
    if bar and share is not None:
        bar += max(0, min(width - cells(), MOST_BAR - bar))
    filled = round((share or 0.0) * bar)
    text = Text(no_wrap=True, overflow="ellipsis")
    for number, part in enumerate(parts()):
        if not part:
            continue
        text.append(" " if text else "")
        if number == 1:
            text.append(drawn[0] * filled, "green").append(drawn[1] * (bar - filled), "dim")
        else:
            text.append(part, "cyan" if number == 4 else "")
    return text


class WholeLine(ProgressColumn):
    """The only column of a live bar: it knows the terminal's width, and what to leave out."""

    max_refresh = None

    def __init__(self, bars: RichProgress) -> None:
        super().__init__(Column(no_wrap=True))
        self._bars = bars

    def render(self, task: Task) -> Text:
        """One line; see :func:`fitted`."""
        seconds = task.elapsed or 0.0
        figures = [part for part in str(task.fields["figures"]).split(", ") if part]
        unit, curve = str(task.fields["unit"]), str(task.fields["curve"])
        if task.total is None and seconds >= 1 and unit:
            figures.append(amount_text(task.completed / seconds, None, unit) + "/s")
        return fitted(
            task.description,
            amount_text(task.completed, task.total, unit),
            elapsed=duration(seconds),
            curve=curve.ljust(CELLS) if curve else "",  # it grows, and the bar beside it stays
            figures=figures,
            share=min(task.completed / task.total, 1.0) if task.total else None,
            width=self._bars.console.width,
            drawn=DRAWN if _can_show("".join(DRAWN), self._bars.console.encoding) else DRAWN_PLAINLY,
        )


class Bar:
    """A live bar, one at a time, with rate, figures, time left and the loss's curve.

    Implements :class:`tuneward.progress.Progress`.
    """

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._began = 0.0
        self._curve = Sparkline()
        self._draws = _can_show(BLOCKS, bars.console.encoding)

    def begin(self, title: str, *, total: int | None = None, unit: str = "") -> None:
        """See the protocol."""
        self.end()
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
        if self._task is None:
            return
        task = next(task for task in self._bars.tasks if task.id == self._task)
        took, done = duration(time.monotonic() - self._began), amount_text(task.completed, None, task.fields["unit"])
        self._bars.remove_task(self._task)  # what is done becomes a line above: the one that lives has the width
        self._task = None
        self.say(f"{task.description}: {done} in {took}")


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
    with RichProgress(console=stderr) as bars:
        bars.columns = (WholeLine(bars),)
        yield Bar(bars)
