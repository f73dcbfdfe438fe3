"""The probe: a plan's peak corrected by what the largest windows really took, and nothing of the run touched by it."""

import dataclasses

import pytest
import torch

from tests.training.rows import PlainChat, write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.training import probe
from tuneward.training.config import TrainingConfig
from tuneward.training.job import Job, prepare
from tuneward.training.probe import corrected, largest_windows, probed, untouched

SETTINGS = {"batch_tokens": 256, "precision": "fp32", "adapter": {"rank": 4, "dropout": 0.1}}


@pytest.fixture
def ready(base, tmp_path, monkeypatch):
    file = write_rows(tmp_path / "train.jsonl", 40)
    job = Job(file, base, "tiny", TrainingConfig(**SETTINGS), tmp_path / "run", "inputs")
    monkeypatch.setattr("tuneward.training.job.probed", lambda plan, loop, footprint: plan)
    return prepare(job, PlainChat(base)), job


def test_parts_add_up_to_the_peak():
    counted = {"runtime": 100, "weights": 50, "activations": 40, "backward": 0, "loss_head": 0, "slack": 5, "code": 20}
    more = corrected(counted, 300)
    assert sum(more.values()) == 300
    assert more == counted | {"slack": 90}
    less = corrected(counted, 160)
    assert less == counted | {"activations": 10, "slack": 0, "code": 0}


def test_what_was_seen_is_believed(ready, monkeypatch):
    prepared, job = ready
    plan = dataclasses.replace(prepared.plan, memory={**prepared.plan.memory, "code": 0})
    marks = []
    monkeypatch.setattr(probe, "forget_peak", lambda device: marks.append(device) or True)
    monkeypatch.setattr(probe, "peak_since", lambda device: 2**31)
    passing = sum(plan.memory[part] for part in ("activations", "backward", "loss_head"))
    peak = probed(plan, prepared.loop(job), footprint=None).needed_bytes
    assert peak == 2**31 + plan.memory["optimizer"] + int(probe.GROWTH * passing)
    assert marks == ["cpu"]


def test_where_the_system_cannot_tell_the_plan_stays(ready, monkeypatch):
    prepared, job = ready
    monkeypatch.setattr(probe, "forget_peak", lambda device: False)
    monkeypatch.setattr(probe, "try_window", None)
    assert probed(prepared.plan, prepared.loop(job), footprint=None) is prepared.plan


def test_a_loop_stays_as_it_was(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 20))
    loop, _ = make_loop(base, rows, tmp_path, **SETTINGS)
    before = {name: p.detach().clone() for name, p in loop.parameters.items()}
    drawn = torch.get_rng_state()
    with untouched(loop):
        for window in largest_windows(loop):
            probe.try_window(loop, window)
        assert all(p.grad is not None for p in loop.parameters.values())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in loop.parameters.values())
    assert all(torch.equal(before[name], p) for name, p in loop.parameters.items())


def test_the_widest_and_the_longest_are_passed_after_the_smallest(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 40))
    loop, _ = make_loop(base, rows, tmp_path, **SETTINGS)
    windows = [window for step in loop.steps for window in step.windows]
    tokens = [sum(rows[i].size for i in window) for window in windows]
    chosen = [sum(rows[i].size for i in window) for window in largest_windows(loop)]
    assert chosen[:2] == [min(tokens), max(tokens)]
