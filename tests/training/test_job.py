import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tests.tiny import make_tiny_base
from tests.training.rows import PlainChat, write_rows
from tuneward.errors import DataError, ModelError, TrainingError
from tuneward.modeling.adapter_files import load_adapter
from tuneward.training.config import TrainingConfig
from tuneward.training.job import Job, prepare, train

SETTINGS = {"batch_tokens": 256, "epochs": 3, "precision": "fp32", "adapter": {"rank": 4, "dropout": 0.1}}
SETTINGS |= {"checkpoint_seconds": 0.02}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", 60)


def start(base, rows, folder, **settings):
    command = [sys.executable, "-m", "tests.training.runs", base, rows, folder, json.dumps(SETTINGS | settings)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


def follow(process, until=lambda event: False):
    """Events of a process up to the first for which ``until`` holds, or to its end."""
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if until(events[-1]):
            break
    return events


def ends(pid, *, seconds):
    """Whether a process that is not our child is gone (or a zombie) within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def adapter_bytes(folder):
    return {file.name: file.read_bytes() for file in sorted((folder / "adapter").iterdir())}


@pytest.fixture(scope="module")
def whole(base, rows, tmp_path_factory):
    """The adapter of a run that nobody disturbed, in a process of its own."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(base, rows, folder)
    events = follow(process)
    assert process.wait(60) == 0
    kinds = [event["event"] for event in events]
    assert kinds[0] == "plan"
    assert kinds.count("step") == events[0]["steps"] >= 8
    return folder, adapter_bytes(folder)


def test_killed_again_and_again_it_ends_in_the_same_bytes(base, rows, whole, tmp_path):
    ends = iter([2, 5, 7])
    kills = resumed = 0
    while True:
        process = start(base, rows, tmp_path)
        end = next(ends, None)
        seen = follow(process, lambda event, end=end: end is not None and event.get("step", 0) >= end)
        if end is not None:
            process.kill()
            kills += process.wait(60) == -signal.SIGKILL
            follow(process)
            continue
        resumed = sum(event["event"] == "resumed" for event in seen)
        assert process.wait(60) == 0
        break
    assert (kills, resumed) == (3, 1)
    assert adapter_bytes(tmp_path) == whole[1]
    curves = [
        [json.loads(x)["loss"] for x in (f / "curve.jsonl").read_text().splitlines()] for f in (tmp_path, whole[0])
    ]
    assert curves[0] == curves[1]


WATCHED = {"validation": {"fraction": 0.2, "every_steps": 1, "samples": 2, "sample_tokens": 3}, "neftune_alpha": 5.0}
WATCHED |= {"recompute": True, "optimizer": "adamw_8bit", "learning_rate": 0.1}


def test_killed_with_validation_it_keeps_the_same_best_bytes(base, rows, tmp_path):
    pytest.importorskip("bitsandbytes")
    process = start(base, rows, tmp_path / "whole", **WATCHED)
    events = follow(process)
    assert process.wait(120) == 0
    best = max((event for event in events if event["event"] == "validation"), key=lambda event: -event["loss"])
    assert best["step"] >= 1
    for kind, at in (("step", 2), ("validation", 4), ("validation", 7)):
        process = start(base, rows, tmp_path / "killed", **WATCHED)
        follow(process, lambda event, kind=kind, at=at: event["event"] == kind and event["step"] >= at)
        process.kill()
        process.wait(60)
        follow(process)
    process = start(base, rows, tmp_path / "killed", **WATCHED)
    assert follow(process)
    assert process.wait(120) == 0
    assert adapter_bytes(tmp_path / "killed") == adapter_bytes(tmp_path / "whole")
    for name in ("validation.jsonl", "samples.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_a_checkpoint_with_130(base, rows, whole, tmp_path, number):
    process = start(base, rows, tmp_path, checkpoint_seconds=1000)
    follow(process, lambda event: event.get("step", 0) >= 3)
    process.send_signal(number)
    events = follow(process)
    assert process.wait(60) == 130
    assert events[-1]["event"] == "checkpoint"
    assert not (tmp_path / "adapter").exists()
    process = start(base, rows, tmp_path, checkpoint_seconds=1000)
    follow(process)
    assert process.wait(60) == 0
    assert adapter_bytes(tmp_path) == whole[1]


def test_it_ends_when_its_parent_dies(base, rows, tmp_path):
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "print(child.pid, flush=True)\n"
        "while '\"step\": 2' not in child.stdout.readline(): pass\n"
    )
    settings = json.dumps(SETTINGS | {"epochs": 500, "checkpoint_seconds": 1000})
    command = [sys.executable, "-m", "tests.training.runs", str(base), str(rows), str(tmp_path), settings]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120
    )
    child = int(done.stdout.split()[0])
    assert ends(child, seconds=60)
    assert (tmp_path / "checkpoints").is_dir()


def test_what_a_finished_job_leaves(base, rows, tmp_path):
    events = []
    config = TrainingConfig(**SETTINGS)
    job = Job(rows, base, "tiny", config, tmp_path, "inputs")
    outcome = train(job, PlainChat(base), emit=events.append)
    assert outcome.status == "finished"
    weights = load_adapter(outcome.adapter)
    assert (weights.rank, weights.alpha) == (4, 32.0)
    assert json.loads((outcome.adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    assert outcome.figures["trained_parameters"] == weights.parameters
    assert outcome.figures["final_loss"] < outcome.figures["first_loss"]
    assert outcome.picture.read_text().startswith("<svg")
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["remaining_seconds"] == 0
    assert json.loads(json.dumps(events)) == events

    torch.manual_seed(1)
    again = train(job, PlainChat(base), emit=lambda event: None)  # nothing left to do
    assert again.figures["steps"] == outcome.figures["steps"]
    assert again.figures["resumed"] == 1


PREFERENCES = SETTINGS | {"method": "dpo", "learning_rate": 5e-3}


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_reward_model_learns_and_says_how_sure_it_may_be(base, tmp_path, kind):
    pairs = write_rows(tmp_path / "train.jsonl", 60, kind="pair")
    held_out = write_rows(tmp_path / "test.jsonl", 40, kind="pair", seed=1)
    settings = PREFERENCES | {"method": "reward", "adapter": {"kind": kind}, "epochs": 6}
    settings |= {"learning_rate": 5e-3 if kind == "lora" else 1e-3}
    job = Job(pairs, base, "tiny", TrainingConfig(**settings), tmp_path / "run", "inputs", held_out=held_out)
    events = []
    outcome = train(job, PlainChat(base), emit=events.append)
    figures = outcome.figures
    assert figures["held_out_pairs"] == 40
    assert figures["held_out_accuracy"] > 0.8  # the worse answers end alike
    assert 0 <= figures["calibration_error"] < 0.5
    last = [event for event in events if event["event"] == "step"][-1]
    assert {"accuracy", "margin", "reward_chosen", "reward_rejected"} <= set(last["figures"])
    assert json.loads(json.dumps(outcome.figures)) == outcome.figures
    if kind == "full":
        model = AutoModelForSequenceClassification.from_pretrained(outcome.adapter)
    else:
        assert load_adapter(outcome.adapter).parameters == outcome.figures["trained_parameters"]
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, outcome.adapter).eval()
    right = 0
    for row in prepare(job, PlainChat(base)).held_out:
        ids = (torch.tensor([*row.ids, *branch]).unsqueeze(0) for branch in row.branches)
        with torch.no_grad():
            chosen, rejected = (float(model(input_ids=one).logits) for one in ids)
        right += chosen > rejected
    assert right / 40 == figures["held_out_accuracy"]


def test_without_held_out_pairs_nothing_is_said_of_calibration(base, tmp_path):
    pairs = write_rows(tmp_path / "train.jsonl", 6, kind="pair")
    empty = tmp_path / "test.jsonl"
    empty.write_text("")
    config = TrainingConfig(**PREFERENCES | {"method": "reward"})
    conversations = write_rows(tmp_path / "plain.jsonl", 3, kind="sft")
    for number, held_out in enumerate((None, empty, conversations)):
        folder = tmp_path / f"run-{number}"
        outcome = train(
            Job(pairs, base, "tiny", config, folder, "x", held_out=held_out), PlainChat(base), emit=lambda event: None
        )
        assert "held_out_pairs" not in outcome.figures


def test_a_held_out_pair_that_cannot_be_used_is_refused_before_the_first_step(base, tmp_path):
    pairs = write_rows(tmp_path / "train.jsonl", 6, kind="pair")
    broken = write_rows(tmp_path / "test.jsonl", 3, kind="pair")
    lines = broken.read_text().splitlines()
    broken.write_text("\n".join([lines[0].replace('"messages"', '"massages"'), "{", "", lines[2]]) + "\n")
    config = TrainingConfig(**PREFERENCES | {"method": "reward"})
    events = []
    with pytest.raises(DataError) as caught:
        train(
            Job(pairs, base, "tiny", config, tmp_path / "run", "x", held_out=broken),
            PlainChat(base),
            emit=events.append,
        )
    assert events == []
    assert [fault.place for fault in caught.value.faults] == ["test.jsonl:1", "test.jsonl:2"]


def test_stopped_while_the_reference_is_computed_it_goes_on(base, tmp_path):
    pairs = write_rows(tmp_path / "train.jsonl", 30, kind="pair")
    config = TrainingConfig(**PREFERENCES | {"window_tokens": 100, "epochs": 0.5})
    whole = train(Job(pairs, base, "tiny", config, tmp_path / "a", "x"), PlainChat(base), emit=lambda event: None)
    job, events = Job(pairs, base, "tiny", config, tmp_path / "b", "x"), []
    stopped = train(job, PlainChat(base), emit=events.append, stop=lambda: len(events) > 3)
    assert stopped.status == "stopped"
    assert [event["event"] for event in events] == ["plan", "reference", "reference", "reference"]
    again = train(job, PlainChat(base), emit=lambda event: None)
    assert adapter_bytes(tmp_path / "a") == adapter_bytes(tmp_path / "b")
    assert again.figures["final_loss"] == whole.figures["final_loss"]


def test_preferences_begin_at_the_adapter_that_they_are_given_and_measure_from_there(base, rows, tmp_path):
    first = train(
        Job(rows, base, "tiny", TrainingConfig(**SETTINGS), tmp_path / "a", "x"),
        PlainChat(base),
        emit=lambda event: None,
    )
    pairs = write_rows(tmp_path / "train.jsonl", 12, kind="pair")
    config = TrainingConfig(**PREFERENCES | {"epochs": 1, "adapter": {"rank": 4}})
    job = Job(pairs, base, "tiny", config, tmp_path / "b", "y", start=first.adapter, start_name="first")
    outcome = train(job, PlainChat(base), emit=lambda event: None)
    assert outcome.figures["first_loss"] == pytest.approx(math.log(2), rel=1e-6)  # at the reference, no pair counts
    bare = Job(pairs, base, "tiny", config, tmp_path / "c", "z", cache=job.folder)
    train(bare, PlainChat(base), emit=lambda event: None)
    assert len(list((job.folder / "reference").iterdir())) == 2
    assert adapter_bytes(tmp_path / "b") != adapter_bytes(tmp_path / "c")


def kept_reference(folder):
    (file,) = (folder / "reference").iterdir()
    return np.frombuffer(file.read_bytes()[64:], dtype="<f8")


def test_the_reference_is_the_start_and_not_the_base(base, rows, tmp_path):
    whole = SETTINGS | {"epochs": 0.5, "adapter": {"kind": "full"}, "learning_rate": 1e-3}
    quiet = {"emit": lambda event: None}
    first = train(Job(rows, base, "tiny", TrainingConfig(**whole), tmp_path / "a", "x"), PlainChat(base), **quiet)
    pairs = write_rows(tmp_path / "train.jsonl", 8, kind="pair")
    config = TrainingConfig(**PREFERENCES | {"epochs": 0.5, "adapter": {"kind": "full"}})
    begun = Job(pairs, base, "tiny", config, tmp_path / "begun", "x", start=first.adapter, start_name="first")
    alone = Job(pairs, first.adapter, "first", config, tmp_path / "alone", "x")
    bare = Job(pairs, base, "tiny", config, tmp_path / "bare", "x")
    outcomes = [train(job, PlainChat(base), **quiet) for job in (begun, alone, bare)]
    references = [kept_reference(job.folder) for job in (begun, alone, bare)]
    assert np.array_equal(references[0], references[1])
    assert not np.allclose(references[0], references[2])
    weights = [(outcome.adapter / "model.safetensors").read_bytes() for outcome in outcomes]
    assert weights[0] == weights[1] != weights[2]


def test_a_start_of_another_rank_is_told_in_one_fault(base, rows, tmp_path):
    def job(name, rank, **start):
        config = TrainingConfig(**SETTINGS | {"epochs": 0.2, "adapter": {"rank": rank}})
        return Job(rows, base, "tiny", config, tmp_path / name, "x", **start)

    first = train(job("a", 4), PlainChat(base), emit=lambda event: None)
    with pytest.raises(ModelError) as caught:
        prepare(job("b", 8, start=first.adapter, start_name="first"), PlainChat(base))
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-BASE-036", "training.adapter")
    assert "has rank 4 and scale 8, the settings ask for rank 8 and scale 4" in fault.message


def test_refusals_come_before_the_first_step(base, rows, tmp_path):
    events = []
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError):
        train(Job(empty, base, "tiny", TrainingConfig(), tmp_path / "run", "x"), PlainChat(base), emit=events.append)
    assert events == []
    assert not any(path.is_file() for path in (tmp_path / "run").rglob("*"))


def test_a_folder_of_other_inputs_is_refused(base, rows, tmp_path):
    config = TrainingConfig(**SETTINGS | {"epochs": 0.2})
    train(Job(rows, base, "tiny", config, tmp_path, "inputs"), PlainChat(base), emit=lambda event: None)
    with pytest.raises(TrainingError) as caught:
        train(Job(rows, base, "tiny", config, tmp_path, "other"), PlainChat(base), emit=lambda event: None)
    assert caught.value.faults[0].code == "TW-TRAIN-008"


def test_a_row_that_would_turn_its_neighbours_positions_is_refused(rows, tmp_path):
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 32}
    base = make_tiny_base(tmp_path / "base", rope_parameters=scaling)
    job = Job(rows, base, "tiny", TrainingConfig(**SETTINGS), tmp_path / "run", "inputs")
    with pytest.raises(DataError, match="TW-TRAIN-004"):
        prepare(job, PlainChat(base))


def test_an_adapter_that_scores_is_no_start(base, tmp_path):
    pairs = write_rows(tmp_path / "train.jsonl", 6, kind="pair")
    settings = PREFERENCES | {"epochs": 0.5, "adapter": {"rank": 4}}
    config = TrainingConfig(**settings | {"method": "reward"})
    scored = train(Job(pairs, base, "tiny", config, tmp_path / "a", "x"), PlainChat(base), emit=lambda event: None)
    job = Job(pairs, base, "tiny", TrainingConfig(**settings), tmp_path / "b", "x", start=scored.adapter)
    with pytest.raises(TrainingError, match="TW-TRAIN-031"):
        prepare(job, PlainChat(base))
