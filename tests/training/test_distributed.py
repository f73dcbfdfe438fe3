"""Two processes on one CPU train as one does. torchrun starts the group where runs go well, our starter where not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import make_tiny_base
from tests.training.rows import PlainChat, write_rows
from tests.training.test_job import ROOT, adapter_bytes, ends, follow
from tuneward.errors import MachineError
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import read_curve
from tuneward.training.distributed import ALONE, deal, join
from tuneward.training.job import Job, train
from tuneward.training.validation import read_measured

SETTINGS = {"precision": "fp32", "batch_tokens": 300, "window_tokens": 150, "epochs": 2, "checkpoint_seconds": 1000}
SETTINGS |= {"adapter": {"rank": 4}}
FULL = {"adapter": {"kind": "full"}}
KTO = {"method": "dpo", "preference": {"loss": "kto", "beta": 0.3}, "learning_rate": 3e-4}
DROPPED = {"adapter": {"rank": 4, "dropout": 0.1}, "checkpoint_seconds": 0.02, "epochs": 3}

HELD_OUT = {"fraction": 0.25, "every_steps": 1, "samples": 3, "sample_tokens": 6}
WATCHED = {"validation": HELD_OUT, "recompute": True, "weight_decay": 0.1}

#: Run → kind of rows, base, settings.
RUNS = {
    "sft, lora": ("sft", "llama", {}),
    "sft, full": ("sft", "untied", FULL),
    "dpo, lora": ("pair", "untied", {"method": "dpo"}),
    "sft, dora": ("sft", "llama", {"adapter": {"rank": 4, "dora": True}}),
    "sft, qlora": ("sft", "untied", {"adapter": {"rank": 4, "kind": "qlora"}}),
    "sft, qlora, ends": ("sft", "llama", {"adapter": {"rank": 4, "kind": "qlora", "quantise_embeddings": True}}),
    "dpo, full": ("pair", "llama", {"method": "dpo"} | FULL),
    "kto, lora": ("judged", "untied", KTO),
    "kto, full": ("judged", "llama", KTO | FULL),
    "reward, lora": ("pair", "llama", {"method": "reward"}),
    "reward, full": ("pair", "untied", {"method": "reward", "learning_rate": 1e-4} | FULL),
    "experts, full": ("sft", "qwen3_moe", FULL),
    "experts, lora": ("sft", "qwen3_moe", {}),
    "fewer rows than processes": ("sft", "llama", {"batch_rows": 1, "epochs": 0.3} | FULL),
    "watched, lora": ("sft", "llama", WATCHED),
    "watched, full": ("sft", "untied", WATCHED | FULL),
    "watched, dpo": ("pair", "untied", WATCHED | {"method": "dpo"}),
    "watched, kto": ("judged", "untied", WATCHED | KTO),
    "one row a step, lora": ("sft", "llama", {"batch_rows": 1, "epochs": 0.3}),
    "bf16, full": ("sft", "llama", {"precision": "bf16"} | FULL),
    "bf16, lora": ("sft", "llama", {"precision": "bf16"}),
}
ALIKE = [name for name in RUNS if "bf16" not in name]


@pytest.fixture(scope="module")
def bases(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {
        "llama": base,
        "untied": make_tiny_base(folder / "untied", tie_word_embeddings=False, vocab_size=305),  # odd: uneven shards
        "qwen3_moe": make_tiny_base(folder / "qwen3_moe", architecture="qwen3_moe"),
        "poisoned": poisoned(folder / "poisoned"),
    }


def poisoned(folder):
    """A base whose input embedding of ``~`` is no number."""
    make_tiny_base(folder, tie_word_embeddings=False)
    (number,) = PlainChat(folder)._ids("~")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][number] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    files = {kind: write_rows(folder / f"{kind}.jsonl", 24, kind=kind) for kind in ("sft", "pair", "judged")}
    lines = files["sft"].read_text().splitlines()
    lines[11] = lines[11].replace('"content": "', '"content": "~', 1)
    files["poisoned"] = folder / "poisoned.jsonl"
    files["poisoned"].write_text("\n".join(lines) + "\n")
    return files


@pytest.fixture(scope="module")
def two(bases, files, tmp_path_factory):
    """Every run of ``RUNS`` and two more by one group of two, started by torchrun."""
    folder = tmp_path_factory.mktemp("two")
    runs = RUNS | {"dropped": ("sft", "llama", DROPPED), "poisoned": ("poisoned", "poisoned", {})}
    spec = [
        {"base": str(bases[base]), "rows": str(files[rows]), "folder": str(folder / name), "config": SETTINGS | own}
        for name, (rows, base, own) in runs.items()
    ]
    for run in spec:
        Path(run["folder"]).mkdir()
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    command += ["--nproc-per-node", "2", "-m", "tests.training.together", str(folder / "spec.json")]
    loopback = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(command, env=os.environ | loopback, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def one(bases, files, tmp_path_factory):
    """The same runs, each by one process, made when first asked for."""
    folder = tmp_path_factory.mktemp("one")

    def run(name):
        rows, base, own = RUNS[name]
        place = folder / name
        if not place.exists():
            config = TrainingConfig(**SETTINGS | own)
            job = Job(files[rows], bases[base], "tiny", config, place, "inputs", held_out=files[rows])
            figures = train(job, PlainChat(job.base), emit=lambda event: None).figures
            (place / "figures.json").write_text(json.dumps(figures))
        return place

    return run


def weights(folder):
    (file,) = (folder / "adapter").glob("*.safetensors")
    return load_file(file)


def told(folder, rank=0):
    return json.loads((folder / f"told{rank}.json").read_text())


@pytest.mark.parametrize("name", ALIKE)
def test_losses_are_those_of_one_process_step_by_step(one, two, name):
    ours, theirs = read_curve(two / name / "curve.jsonl"), read_curve(one(name) / "curve.jsonl")
    assert len(ours) == len(theirs) >= 5
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-6)
        assert mine.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-5)
        assert (mine.step, mine.tokens, mine.learning_rate) == (other.step, other.tokens, other.learning_rate)
        assert mine.figures == pytest.approx(other.figures, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["reward, lora", "reward, full"])
def test_calibration_is_measured_on_every_held_out_pair_once(one, two, name):
    theirs = json.loads((one(name) / "figures.json").read_text())
    for rank in (0, 1):
        ours = told(two / name, rank)["figures"]
        assert ours["held_out_pairs"] == theirs["held_out_pairs"] == 24
        for key in ("held_out_accuracy", "held_out_margin", "calibration_error"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in RUNS if "watched" in name])
def test_what_is_held_out_is_measured_as_by_one_process(one, two, name):
    ours, theirs = (read_measured(place / name / "validation.jsonl") for place in (two, one(name).parent))
    assert len(ours) == len(theirs) >= 4
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.loss == pytest.approx(other.loss, rel=1e-4)
        assert (mine.step, mine.best) == (other.step, other.best)
    assert ours[0].loss == pytest.approx(theirs[0].loss, rel=1e-6)
    answers = [(place / name / "samples.jsonl").read_text() for place in (two, one(name).parent)]
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 3 * len(ours)
    best = max(found.step for found in ours if found.best)
    assert (two / name / "checkpoints" / f"best-{best:08d}").is_dir()
    assert list((two / name / "tensorboard").iterdir())


@pytest.mark.parametrize("name", ALIKE)
def test_the_weights_at_the_end_are_close(one, two, name):
    ours, theirs = weights(two / name), weights(one(name))
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert ours[key].dtype == tensor.dtype
        torch.testing.assert_close(ours[key], tensor, atol=2e-4 * float(tensor.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("name", ["bf16, full", "bf16, lora"])
def test_bf16_agrees_within_its_rounding_and_is_written_as_bf16(one, two, name):
    ours, theirs = read_curve(two / name / "curve.jsonl"), read_curve(one(name) / "curve.jsonl")
    differences = [mine.loss / other.loss - 1 for mine, other in zip(ours, theirs, strict=True)]
    assert max(map(abs, differences)) < 5e-3
    assert abs(sum(differences) / len(differences)) < 1e-3  # no drift to one side
    kinds = [{key: tensor.dtype for key, tensor in weights(place).items()} for place in (two / name, one(name))]
    assert kinds[0] == kinds[1]
    settings = [(place / "adapter" / "config.json") for place in (two / name, one(name))]
    if "full" in name:
        assert json.loads(settings[0].read_text())["dtype"] == json.loads(settings[1].read_text())["dtype"]


def test_rank_0_alone_speaks_and_says_where_processes_wait(two):
    few = two / "fewer rows than processes"
    notes = [event["text"] for event in told(few)["events"] if event["event"] == "note"]
    assert notes == ["8 of 8 steps have fewer rows than 2 processes: some wait meanwhile"]
    assert told(few)["figures"]["processes"] == 2
    assert told(few)["events"][0]["processes"] == 2
    assert told(few, rank=1)["events"] == []


def test_nan_in_one_process_stops_all_with_step_and_rows(two):
    first, second = (told(two / "poisoned", rank)["faults"] for rank in (0, 1))
    assert first == second
    (fault,) = first
    assert fault["code"] == "TW-TRAIN-007"
    assert "rec_0011" in fault["message"]
    assert not (two / "poisoned" / "adapter").exists()


def lead(base, rows, folder, settings):
    command = [sys.executable, "-m", "tests.training.lead", "2", base, rows, folder, json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([str(x) for x in command], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def ranks_of(starter):
    return [int(pid) for pid in Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()]


@pytest.mark.journey
def test_killed_stopped_and_gone_on_with_it_ends_in_the_same_bits(base, files, two, tmp_path):
    settings = SETTINGS | DROPPED
    place = tmp_path / "run"
    starter = lead(base, files["sft"], place, settings)
    follow(starter, lambda event: event.get("step", 0) >= 2)
    first, second = ranks_of(starter)
    os.kill(second, signal.SIGKILL)
    rest = follow(starter)
    assert starter.wait(60) == -signal.SIGKILL
    assert ends(first, seconds=1)
    assert "error" not in [event["event"] for event in rest]  # nobody blames the run
    assert (place / "process.rank1.log").is_file()

    starter = lead(base, files["sft"], place, settings)
    events = follow(starter, lambda event: event.get("step", 0) >= 6)
    assert "resumed" in [event["event"] for event in events]
    starter.send_signal(signal.SIGINT)
    follow(starter)
    assert starter.wait(60) == 130
    shutil.copytree(place, tmp_path / "alone")

    starter = lead(base, files["sft"], place, settings)
    follow(starter)
    assert starter.wait(60) == 0
    assert adapter_bytes(place) == adapter_bytes(two / "dropped")
    assert losses(place) == losses(two / "dropped")

    told = []
    job = Job(files["sft"], base, "tiny", TrainingConfig(**settings), tmp_path / "alone", "inputs")
    train(job, PlainChat(base), emit=told.append)
    assert [event["text"][:30] for event in told if event["event"] == "note"] == ["2 processes trained up to step"]


def losses(folder):
    return [(point.step, point.loss) for point in read_curve(folder / "curve.jsonl")]


def test_another_number_of_processes_goes_on_with_the_same_losses(bases, files, one, two, tmp_path):
    name = "sft, full"
    shutil.copytree(two / name / "checkpoints", tmp_path / "checkpoints")  # of the last step: every state is there
    ours = load_file(next((tmp_path / "checkpoints").glob("*/state.safetensors")))
    theirs = load_file(next((one(name) / "checkpoints").glob("*/state.safetensors")))
    assert ours.keys() - theirs.keys() == {"random/1"}
    for key in theirs.keys() - {"random"}:
        assert ours[key].shape == theirs[key].shape
        torch.testing.assert_close(
            ours[key], theirs[key], atol=2e-4 * float(theirs[key].abs().max()) + 1e-12, rtol=1e-2
        )


def test_dealing_is_even_whole_and_the_same_everywhere():
    draw = random.Random(0)
    for ranks in (1, 2, 3, 8):
        for count in (1, 2, 5, 40):
            rows = draw.sample(range(1000), count)
            sizes = {row: draw.randint(1, 300) for row in rows}
            rounds = deal(rows, sizes, room=256, ranks=ranks)
            assert rounds == deal(rows, sizes, room=256, ranks=ranks)
            assert all(len(round_) == ranks for round_ in rounds)
            windows = [window for round_ in rounds for window in round_]
            assert Counter(row for window in windows for row in window) == Counter(rows)
            assert all(len(window) <= 1 or sum(sizes[row] for row in window) <= 256 for window in windows)
            if count == 40:
                used = [sum(sizes[row] for row in window) for window in windows]
                assert max(used) - min(used) <= max(sizes.values())


def test_alone_passes_the_windows_as_they_are():
    shares = list(ALONE.share([(3, 1), (2,)], lambda row: 10, room=1))
    assert [(share.rows, share.counted) for share in shares] == [((3, 1), True), ((2,), True)]


def test_more_processes_than_devices_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(MachineError, match="TW-ENV-006"),
        join("cuda", {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}),
    ):
        raise AssertionError("nobody joins")


def test_one_process_is_alone_whoever_starts_it():
    with join("cpu", {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) as group:
        assert group is ALONE
