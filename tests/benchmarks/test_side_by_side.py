"""The comparison itself with a tiny model: TRL and Tuneward must take the same course, and figures must come out."""

from dataclasses import replace

import pytest

from benchmarks import conversations, training_dpo, training_sft
from benchmarks.growth import grow
from benchmarks.side_by_side import compare
from tests.tiny import make_tiny_base
from tuneward.domain.record import Message

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _short_rows(monkeypatch):
    def stand_ins():
        for number in range(2500):
            question = Message("user", "the ring" + " and" * (number % 7))
            answer = Message("assistant", "in there" + " again" * (number % 5))
            yield conversations._record(number, [question, answer], Message("assistant", "no"))

    monkeypatch.setattr(conversations, "_pairs", stand_ins)


@pytest.mark.parametrize(
    ("trial", "against", "step_rows"),
    [(training_sft.TRIAL, "best", 8), (training_sft.TRIAL, "packing", 40), (training_dpo.TRIAL, "best", 8)],
    ids=["sft", "packing", "dpo"],
)
def test_both_take_the_same_course(base, capsys, trial, against, step_rows):
    figures = compare(base, replace(trial, step_rows=step_rows), against=against, turns=2)
    assert figures.agreement.holds
    assert figures.agreement.theirs > 0.1
    assert figures.ours > 0
    assert figures.their_peak > figures.our_peak > 2**27
    assert 0 < figures.share <= figures.wide_share
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"ratio tuneward / TRL ({against})")


def test_growth_is_measured_over_three_sizes(base, capsys):
    figures = grow(base, rows=150)
    assert set(figures) == {"time", "memory", "preparing"}
    assert all(figure > 0 for figure in figures.values())
    assert " 16x: 2400 rows" in capsys.readouterr().out
