import dataclasses

import pytest

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tests.training.test_plan import planned
from tuneward.errors import TrainingError
from tuneward.training.batches import plan_steps
from tuneward.training.fitting import Fitting, refuse_what_cannot_fit


@pytest.fixture
def run(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 200))
    loop, _ = make_loop(base, rows, tmp_path, batch_tokens=4096, window_tokens=4096)
    plan, footprint = planned(loop, rows)

    def replan(window_tokens):
        return plan_steps(rows, epochs=1, batch_tokens=4096, window_tokens=window_tokens, seed=0)

    return plan, Fitting(loop.model, rows, loop.config, footprint, replan)


def refused(plan, available, fitting):
    with pytest.raises(TrainingError) as caught:
        refuse_what_cannot_fit(plan, available, fitting)
    (fault,) = caught.value.faults
    assert fault.code == "TW-TRAIN-006"
    return fault


def test_what_fits_or_cannot_be_known_goes_on(run):
    plan, fitting = run
    refuse_what_cannot_fit(plan, plan.needed_bytes, fitting)
    refuse_what_cannot_fit(plan, None, fitting)
    refuse_what_cannot_fit(dataclasses.replace(plan, reached=2**60), plan.needed_bytes, fitting)  # that is behind it


def test_the_nearest_that_fits_is_proposed_with_its_peak(run):
    plan, fitting = run
    fault = refused(plan, plan.needed_bytes - 1, fitting)
    assert "weights" in fault.message
    assert fault.cure.startswith(f"set training.window_tokens to {plan.widest_window // 2}: about ")
    assert fault.cure.endswith("MiB; the result stays the same")


def test_each_proposal_is_taken_where_the_nearer_ones_are_too_large(run):
    plan, fitting = run
    proposals = list(fitting.proposals(plan))
    seen = {frozenset(p.settings) for p in proposals}
    assert {frozenset({"window_tokens"}), frozenset({"head_memory_mib"}), frozenset({"recompute"})} <= seen
    assert frozenset({"adapter.kind"}) in seen
    for at, proposal in enumerate(proposals):
        if all(earlier.peak_bytes > proposal.peak_bytes for earlier in proposals[:at]):
            assert refused(plan, proposal.peak_bytes, fitting).cure == str(proposal)
    four = next(p for p in proposals if "adapter.kind" in p.settings)
    assert str(four).startswith("set training.adapter.kind to qlora")
    assert "four bits" in str(four)


def test_where_nothing_fits_the_least_is_said(run):
    plan, fitting = run
    fault = refused(plan, 2**20, fitting)
    assert "smaller base" in fault.cure
    assert "the least that any setting here takes" in fault.cure
