import json
import math
import random

import pytest

from tuneward.training.calibration import calibrate


def test_worked_out_by_hand():
    # sigmoid(1) = 0.731: bin 5 of 10 over 0.5 … 1; sigmoid(3) = 0.953: bin 10; a tie is as good as a coin
    one, three = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    found = calibrate([1.0, -1.0, 3.0, 3.0, 0.0])
    assert found.pairs == 5
    assert found.accuracy == pytest.approx(0.7)  # right, wrong, right, right, half
    assert found.margin == pytest.approx(1.2)
    assert [b.pairs for b in found.bins] == [1, 2, 2]
    assert [b.accuracy for b in found.bins] == pytest.approx([0.5, 0.5, 1.0])
    assert [b.confidence for b in found.bins] == pytest.approx([0.5, one, three])
    assert found.error == pytest.approx((0.0 + 2 * (one - 0.5) + 2 * (1 - three)) / 5)


def test_right_as_often_as_expected_is_calibrated_and_too_sure_is_not():
    draw = random.Random(0)
    honest, bold = [], []
    for _ in range(20000):
        size = abs(draw.gauss(0, 2))
        sign = 1 if draw.random() < 1 / (1 + math.exp(-size)) else -1
        honest.append(sign * size)
        bold.append(sign * size * 4)
    assert calibrate(honest).error < 0.01
    assert calibrate(bold).error > 0.05
    assert calibrate(honest).accuracy == calibrate(bold).accuracy


def test_certain_scores_stay_within_the_last_bin():
    found = calibrate([1000.0, -1000.0, 745.0])
    assert [b.pairs for b in found.bins] == [3]
    assert found.error == pytest.approx(1 / 3)


def test_no_pair_gives_nothing():
    assert calibrate([]) is None


def test_figures_are_plain_json():
    assert json.loads(json.dumps(calibrate([0.5]).figures()))["calibration_bins"][0]["pairs"] == 1
