"""The training process takes the device that the run's settings name, before it loads anything."""

from types import SimpleNamespace

import pytest
import torch

from tuneward.errors import MachineError
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
