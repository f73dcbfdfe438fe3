"""The training process takes the device that the run's settings name, before it loads anything."""

from types import SimpleNamespace

import pytest
import torch

from tuneward.errors import Fault, MachineError, TrainingError
from tuneward.modeling.chat import Chat
from tuneward.training import __main__ as process
from tuneward.training import job as job_module
from tuneward.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("asked", "there", "taken"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cuda", False, None)]
)
def test_the_process_hands_the_device_on(tmp_path, monkeypatch, asked, there, taken):
    job = SimpleNamespace(config=TrainingConfig(device=asked), folder=tmp_path)
    seen = []

    def train(job, chat, *, emit, stop, device, group):
        seen.append(device)
        return SimpleNamespace(status="stopped")

    monkeypatch.setenv("TUNEWARD_SITE", str(tmp_path))
    monkeypatch.setattr(process, "find_job", lambda site, run: (job, tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(Chat, "load", lambda folder: seen.append("loaded"))
    monkeypatch.setattr(job_module, "train", train)
    if taken is None:
        with pytest.raises(MachineError):
            process._train(["run_1"], lambda event: None, process.Stop())
        assert seen == []
    else:
        process._train(["run_1"], lambda event: None, process.Stop())
        assert seen == ["loaded", taken]


FAULT = TrainingError(Fault("TW-TRAIN-007", "loss nan", "step 3", "look"))


@pytest.mark.parametrize(
    ("rank", "error", "ended", "spoken"),
    [
        (None, FAULT, False, ["TW-TRAIN-007"]),
        (None, RuntimeError("a bug"), True, ["TW-TRAIN-012"]),
        (0, FAULT, True, ["TW-TRAIN-007"]),  # its own fault, said at once
        (1, FAULT, True, []),  # rank 0 has said it and was the first to go
        (1, FAULT, False, ["TW-TRAIN-007"]),  # nobody else failed
        (0, RuntimeError("Connection closed by peer"), True, []),
        (0, RuntimeError("a bug"), False, ["TW-TRAIN-012"]),
    ],
)
def test_of_a_group_one_says_why_it_ended(monkeypatch, rank, error, ended, spoken):
    monkeypatch.setattr(process, "BLAME_SECONDS", 0.01)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
    stop, events = process.Stop(), []
    if ended:
        stop.ask()
    assert process.report(error, events.append, stop) == TrainingError.exit_code
    assert [fault["code"] for event in events for fault in event["faults"]] == spoken
