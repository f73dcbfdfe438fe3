"""A reward model's report: the figures of its run, with intervals, in the form that gate and papers read."""

import pytest

from tuneward.errors import EvaluationError
from tuneward.evaluation.gate import judge
from tuneward.evaluation.measure import read_report, read_side_by_side
from tuneward.evaluation.reward import report_reward
from tuneward.evaluation.tasks import RewardTask
from tuneward.registry.figures import limits, performance, table
from tuneward.training.calibration import calibrate

SURE = [2.0] * 60 + [-2.0] * 20 + [0.2] * 20


def figures(differences):
    return calibrate(differences).figures()


def test_the_figures_of_the_run_get_intervals_and_the_gate_reads_them(tmp_path):
    report = report_reward(RewardTask(), figures(SURE))
    report.write(tmp_path)
    read = read_report(tmp_path)
    accuracy, error = (read["figures"][f"reward.{name}"] for name in ("accuracy", "calibration_error"))
    assert (accuracy["tuned"], accuracy["n"], accuracy["base"]) == (0.8, 100, None)
    assert accuracy["interval"][0] < 0.8 < accuracy["interval"][1]
    assert error["interval"][0] <= error["tuned"] == pytest.approx(figures(SURE)["calibration_error"], abs=1e-6)
    gate = {"reward.accuracy": {"min": 0.7}, "reward.calibration_error": {"max": 0.05}}
    verdict = judge(read, gate)
    assert [reason.rsplit(": ", 1)[1] for reason in verdict.reasons] == ["met", "not met"]
    assert judge(read, {"reward.accuracy": {"max_drop": 0.1}}).passed is False
    assert read_side_by_side(tmp_path) == []
    assert read == report_reward(RewardTask(), figures(SURE)).to_json()


def test_papers_show_it_without_a_before():
    report = report_reward(RewardTask(), figures(SURE)).to_json()
    assert {row["base"] for row in table(report, fields=False)} == {"undefined"}
    assert {metric["slice"] for metric in performance(report)} == {"tuned; 100 held-out items"}
    assert "100 held-out items" in limits(report)[0]


def test_without_held_out_pairs_there_is_no_report():
    with pytest.raises(EvaluationError, match="TW-EVAL-005"):
        report_reward(RewardTask(), {"final_loss": 0.1})
