"""The loss curve: numbers as JSON lines, and a picture as SVG that needs no library and no network.

Place on the road: written by the loop step by step; the report and the registry show it. Knows no model.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tuneward.storage.files import write_atomically

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 44, 40
TITLE_LINE = 22
#: Colour of the held-out share, and the width of a letter, in pixels at most.
HELD_OUT, LETTER = "#c4621f", 7.5
#: Smallest stretch of the loss that fills the picture, in nats: less is noise, and its numbers grow long.
LEAST_SPAN = 0.1


@dataclass(frozen=True)
class Point:
    """One optimizer step.

    Attributes:
        step: 1-based.
        loss: the objective's mean over the step; for cross-entropy in nats per learned token.
        learning_rate: that the step used.
        gradient_norm: length of the gradient before clipping.
        tokens: tokens so far, prompts included.
        seconds: training time so far, interruptions not counted.
        figures: what else the objective measured, such as the accuracy of pairs.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)


class Curve:
    """The points of a run, kept in memory and appended to a file.

    Args:
        path: the JSON lines file; points after ``upto`` are cut off, as a resumed run makes them again.
        upto: last step to keep.
        written: False where another process writes the file.
    """

    def __init__(self, path: Path, *, upto: int, written: bool = True) -> None:
        self.path, self.written = path, written
        self.points = [point for point in read_curve(path) if point.step <= upto]
        if written:
            write_atomically(path, "".join(_line(point) for point in self.points).encode())

    def add(self, point: Point) -> None:
        """Append a point."""
        self.points.append(point)
        if not self.written:
            return
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(_line(point))

    def last_loss(self) -> float:
        """Mean loss over the last tenth of the steps, weighted equally; NaN when there is no step."""
        tail = self.points[-max(1, len(self.points) // 10) :]
        return sum(point.loss for point in tail) / len(tail) if tail else math.nan


def read_curve(path: Path) -> list[Point]:
    """The points of a file; a last line that a crash cut in half is left out."""
    if not path.is_file():
        return []
    points = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            points.append(Point(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return points


def _line(point: Point) -> str:
    return json.dumps(asdict(point)) + "\n"


def draw(
    points: Sequence[Point],
    *,
    title: str,
    unit: str = "nats per learned token",
    validation: Sequence[tuple[int, float]] = (),
    best: int | None = None,
) -> str:
    """The curve as a self-contained SVG: each step's loss thin, its running mean thick.

    Args:
        points: the steps.
        title: above the picture.
        unit: what the loss is a mean over.
        validation: (steps done, loss) of each measurement of the held-out share: a second line with dots.
        best: the step of the lowest of them, which is marked.
    """
    losses = [point.loss for point in points]
    held = [(max(step, 1), loss) for step, loss in validation]
    every = [*losses, *(loss for _, loss in held)]
    high, low = max(every, default=1.0), min(every, default=0.0)
    high = max(high, LEAST_SPAN)
    ticks = _ticks(min(low, max(0.0, high - LEAST_SPAN)), high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    last = max((point.step for point in points), default=1)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - 1) / max(1, last - 1)

    def y(loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)

    def path(values: Sequence[float]) -> str:
        return " ".join(f"{x(p.step):.1f},{y(v):.1f}" for p, v in zip(points, values, strict=True))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{_text(title)}" font-family="system-ui, sans-serif" font-size="12">',
        "<style>.ink{fill:#33414e}.axis{stroke:#33414e;stroke-width:1}.grid{stroke:#8a97a3;stroke-opacity:.3}"
        "@media (prefers-color-scheme:dark){.ink{fill:#d5dde4}.axis{stroke:#d5dde4}}</style>",
        f'<text class="ink" x="{LEFT}" y="{TITLE_LINE}" font-size="14" font-weight="600">{_text(title)}</text>',
    ]
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="ink" x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    floor = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>')
    for step in sorted({1, *(round(tick) for tick in _ticks(1, last) if 1 <= tick <= last), last}):
        if step == last or abs(x(step) - x(last)) > 30:
            parts.append(f'<text class="ink" x="{x(step):.1f}" y="{floor + 18}" text-anchor="middle">{step}</text>')
    parts.append(f'<text class="ink" x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    middle = (TOP + floor) / 2
    parts.append(
        f'<text class="ink" x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">'
        f"loss ({_text(unit)})</text>"
    )
    if points:
        parts.append(f'<polyline fill="none" stroke="#7aa5d8" stroke-opacity=".6" points="{path(losses)}"/>')
        parts.append(f'<polyline fill="none" stroke="#1f6fc4" stroke-width="2.5" points="{path(_running(losses))}"/>')
    if held:
        line = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in held)
        parts.append(f'<polyline fill="none" stroke="{HELD_OUT}" stroke-width="2" points="{line}"/>')
        parts += [f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="2.5" fill="{HELD_OUT}"/>' for s, v in held]
        marked = [(step, loss) for step, loss in held if step == best]
        parts += [
            f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="6" fill="none" stroke="{HELD_OUT}" stroke-width="2"/>'
            for s, v in marked
        ]
        told = "held out" + (f", best after step {best}" if marked else "")
        parts.append(f'<text class="ink" x="{WIDTH - RIGHT}" y="{TITLE_LINE}" text-anchor="end">{told}</text>')
        edge = WIDTH - RIGHT - LETTER * len(told)
        parts.append(f'<circle cx="{edge - 8:.1f}" cy="{TITLE_LINE - 4}" r="4" fill="{HELD_OUT}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _running(losses: Sequence[float]) -> list[float]:
    """Exponential mean with a memory of about a twentieth of the run, without bias at its start."""
    keep = 1 - 1 / max(2.0, len(losses) / 20)
    total = weight = 0.0
    means = []
    for loss in losses:
        total, weight = keep * total + (1 - keep) * loss, keep * weight + (1 - keep)
        means.append(total / weight)
    return means


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that span ``low`` to ``high``."""
    rough = max(high - low, 1e-9) / 5
    power = 10 ** math.floor(math.log10(rough))
    width = next(power * step for step in (1, 2, 5, 10) if power * step >= rough)
    first = math.floor(low / width)
    return [round(index * width, 10) for index in range(first, math.ceil(high / width) + 1)]


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
