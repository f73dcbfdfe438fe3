"""The bar: a curve of the loss beside it in a terminal that can show one, plain lines elsewhere."""

import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn

from tuneward.cli import progress_bar
from tuneward.cli.progress_bar import (
    LEAST_BAR,
    MOST_BAR,
    Bar,
    Lines,
    Sparkline,
    WholeLine,
    amount_text,
    apart,
    duration,
    fitted,
    progress_on_stderr,
)


def line(values, cells=8):
    spark = Sparkline(cells)
    for value in values:
        spark.add(value)
    return str(spark)


def test_the_curve_goes_from_highest_to_lowest():
    assert line([8, 7, 6, 5, 4, 3, 2, 1]) == "█▇▆▅▄▃▂▁"
    assert line([2.0]) == ""
    assert line([2.0, 2.0]) == "▁▁"
    assert line([1.0, float("nan"), float("inf"), 2.0]) == "▁█"


@pytest.mark.parametrize("count", [9, 16, 100, 1000])
def test_a_long_run_still_fits_and_still_falls(count):
    shown = line([float(count - n) for n in range(count)])
    assert 4 < len(shown) <= 8
    assert list(shown) == sorted(shown, reverse=True)


def drawn(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, force_terminal=True, width=120, legacy_windows=False)
    with RichProgress(TextColumn("{task.fields[curve]}|{task.fields[figures]}"), console=console) as bars:
        bar = Bar(bars)
        bar.begin("training", total=4, unit="steps")
        for loss in (4.0, 3.0, 2.0, 1.0):
            bar.advance(1, loss=loss)
        (task,) = bars.tasks
        return task.fields["curve"], task.fields["figures"]


def test_results_have_room_beside_a_live_bar():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, legacy_windows=False)
    with RichProgress(TextColumn("{task.description}"), console=console) as bars:
        bar = Bar(bars)
        bar.begin("first", total=1)
        bar.end()
        with apart(bar):
            assert not bars.live.is_started, "nothing redraws what is printed now"
            assert bars.tasks == []
            stream.write("the result\n")
        assert bars.live.is_started
        bar.begin("second", total=1)
        bar.advance()
    after = stream.getvalue().partition("the result\n")[2]
    assert "first" not in after
    assert "second" in after


def test_where_no_bar_lives_results_need_no_room():
    with apart(Lines()):
        pass


def test_a_terminal_that_can_show_it_shows_it():
    curve, figures = drawn("utf-8")
    assert curve == "█▆▃▁"
    assert figures.startswith("loss 1.000")


def test_a_terminal_that_cannot_shows_the_figures_alone():
    curve, figures = drawn("ascii")
    assert curve == ""
    assert figures.startswith("loss 1.000")


TRAINING = {
    "elapsed": "12:01",
    "curve": "█▇▆▅▄▄▃▃▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁",
    "figures": ["loss 0.512", "1,234 tokens/s", "1:06:40 left"],
    "share": 0.25,
}


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (50, "training 301/1,250 steps loss 0.512, 1:06:40 left"),
        (60, "training BAR 301/1,250 steps loss 0.512, 1:06:40 left"),
        (80, "training BAR 301/1,250 steps 12:01 loss 0.512, 1,234 tokens/s, 1:06:40 left"),
        (100, "training BAR 301/1,250 steps 12:01 loss 0.512, 1,234 tokens/s, 1:06:40 left"),
        (120, "training BAR 301/1,250 steps 12:01 CURVE loss 0.512, 1,234 tokens/s, 1:06:40 left"),
        (200, "training BAR 301/1,250 steps 12:01 CURVE loss 0.512, 1,234 tokens/s, 1:06:40 left"),
    ],
)
def test_a_line_holds_what_matters_most_in_every_width(width, line):
    plain = fitted("training", "301/1,250 steps", width=width, **TRAINING).plain
    assert len(plain) <= width
    assert re.sub("[━─]+", "BAR", plain.replace(TRAINING["curve"], "CURVE")) == line
    if "BAR" in line:
        (bar,) = re.findall("[━─]+", plain)
        assert LEAST_BAR <= len(bar) == min(MOST_BAR, width - len(plain) + len(bar))
        assert bar.count("━") == round(len(bar) / 4)


@pytest.mark.parametrize("width", range(20, 201))
@pytest.mark.parametrize("title", ["training", "downloading model.safetensors of HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_no_line_is_squeezed_below_what_it_says(width, title):
    plain = fitted(title, "301/1,250 steps", width=width, **TRAINING).plain
    assert "301/1,250 steps" in plain
    assert len(plain) <= max(width, 12 + 1 + 15)
    assert plain.startswith("training" if title == "training" else title[: max(width // 3, 12) - 1])


def test_what_is_done_becomes_a_line_and_the_next_part_has_the_width():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, legacy_windows=False, color_system=None)
    with RichProgress(console=console) as bars:
        bars.columns = (WholeLine(bars),)
        bar = Bar(bars)
        bar.begin("measuring rows", total=2000, unit="rows")
        bar.advance(2000)
        bar.end()
        bar.begin("training", total=4, unit="steps")
        assert [task.description for task in bars.tasks] == ["training"]
        bar.begin("copying base", total=4_000_000, unit="B")
        assert [task.description for task in bars.tasks] == ["copying base"], "an end that nobody told"
    assert "measuring rows: 2,000 rows in 0:00\n" in stream.getvalue()


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [
        (301, 1250, "steps", "301/1,250 steps"),
        (1_000_000, None, "rows", "1,000,000 rows"),
        (123_400_000, 269_060_552, "B", "123/269 MB"),
        (400, 900, "B", "400/900 B"),
        (3, 4, "", "3/4"),
    ],
)
def test_an_amount_is_said_with_its_unit(done, total, unit, text):
    assert amount_text(done, total, unit) == text


@pytest.mark.parametrize(("seconds", "said"), [(7, "0:07"), (187.9, "3:07"), (3599, "59:59"), (4000, "1:06:40")])
def test_a_time_has_hours_where_there_are_any(seconds, said):
    assert duration(seconds) == said


def test_where_no_terminal_is_there_are_lines(monkeypatch):
    monkeypatch.setattr(progress_bar, "stderr", Console(file=io.StringIO(), force_terminal=False))
    with progress_on_stderr() as progress:
        assert isinstance(progress, Lines)
