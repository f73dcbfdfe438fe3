import os
import time

import pytest

from benchmarks.turns import Agreement, Ratio, Seat, Table, in_turn


def sleeper(seat: Seat, *, seconds: float) -> None:
    seat.ready(process=os.getpid())
    while seat.wait():
        time.sleep(seconds)
        seat.done(at=time.time())


def hoarder(seat: Seat, *, mib: int) -> None:
    held = bytearray(mib * 2**20)
    seat.ready(held=len(held))
    while seat.wait():
        seat.done()


def failing(seat: Seat) -> None:
    raise RuntimeError("no such model")


def test_turns_alternate_and_are_timed_in_processes_of_their_own():
    with Table() as table:
        for name, seconds in (("quick", 0.02), ("slow", 0.1)):
            table.seat(name, sleeper, seconds=seconds)
        processes = {facts["process"] for facts in table.facts.values()}
        played = in_turn(table, ["quick", "slow"], 4, told=lambda number, results: None)
        table.close()
    assert len(processes | {os.getpid()}) == 3
    assert [turn["quick"]["at"] < turn["slow"]["at"] for turn in played] == [True, False, True, False]
    for turn in played:
        assert 0.02 <= turn["quick"]["seconds"] < turn["slow"]["seconds"]
        assert turn["slow"]["cpu_seconds"] < 0.05


def test_peak_memory_is_each_ones_own():
    with Table() as table:
        table.seat("small", hoarder, mib=1)
        table.seat("large", hoarder, mib=300)
        table.seat("late", hoarder, mib=1)
        table.close()
    assert table.peaks["large"] - table.peaks["small"] > 250 * 2**20
    assert abs(table.peaks["late"] - table.peaks["small"]) < 100 * 2**20


def test_what_fails_is_told_and_ends_the_play():
    with Table() as table, pytest.raises(SystemExit, match="no such model"):
        table.seat("broken", failing)


def test_a_ratio_is_of_all_turns_together():
    ratio = Ratio.of([3.0, 5.0, 4.0], [1.0, 2.0, 1.0])
    assert ratio.value == 3.0
    assert 2.5 <= ratio.low < 3.0 < ratio.high <= 4.0
    assert Ratio.of([2.0] * 5, [1.0] * 5) == Ratio(2.0, 2.0, 2.0, 5)


def test_curves_agree_without_drift_to_one_side():
    def agree(differences):
        ours = [2.0 + difference for difference in differences]
        return Agreement.of(ours, [2.0] * len(ours), band=0.01).holds

    assert agree([0.03, -0.03, 0.02, -0.02])
    assert not agree([0.03, 0.03, 0.02, 0.02])
    assert not agree([0.2, -0.2])
