"""The bar: a curve of the loss beside it in a terminal that can show one, plain lines elsewhere."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn

from tuneward.cli import progress_bar
from tuneward.cli.progress_bar import Bar, Lines, Sparkline, apart, progress_on_stderr


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


def test_where_no_terminal_is_there_are_lines(monkeypatch):
    monkeypatch.setattr(progress_bar, "stderr", Console(file=io.StringIO(), force_terminal=False))
    with progress_on_stderr() as progress:
        assert isinstance(progress, Lines)
