import json
import subprocess
import sys

import pytest
import torch

from tests.training.rows import PlainChat, write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.modeling.chat import Chat
from tuneward.training.batches import Step
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve
from tuneward.training.distributed import ALONE
from tuneward.training.estimate import Costs, Estimating, rehearse, watts_of
from tuneward.training.job import Job, train
from tuneward.training.rehearsal import main, plan_only


def ran(loop, folder):
    torch.manual_seed(0)
    assert loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    return {name: p.detach().clone() for name, p in loop.parameters.items()}


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_a_rehearsed_run_ends_in_the_same_bits(base, tmp_path, method):
    kind, form = {"sft": ("sft", "conversation"), "dpo": ("pair", "pair"), "kto": ("judged", "judged")}[method]
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 30, kind=kind), form=form)
    settings = {"method": "sft" if method == "sft" else "dpo", "batch_tokens": 256}
    settings |= {"adapter": {"rank": 4, "dropout": 0.2}}
    if method == "kto":
        settings["preference"] = {"loss": "kto"}
    plain, _ = make_loop(base, rows, tmp_path / "plain", **settings)
    rehearsed, _ = make_loop(base, rows, tmp_path / "rehearsed", **settings)
    drawn = torch.get_rng_state()
    estimate = rehearse(rehearsed)  # before there is a reference, as a plan does
    if method != "sft":
        rows.reference = torch.zeros(len(rows), 2).numpy()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert estimate.seconds > 0
    assert estimate.windows == min(5, len(plain.steps))
    assert estimate.watts == watts_of("cpu")
    assert all(p.grad is None for p in rehearsed.parameters.values())
    for folder in ("plain", "rehearsed"):
        (tmp_path / folder).mkdir(exist_ok=True)
    one, other = ran(plain, tmp_path / "plain"), ran(rehearsed, tmp_path / "rehearsed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_costs_count_products_and_squares(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 4))
    loop, _ = make_loop(base, rows, tmp_path)
    costs, again = Costs.of(loop.model, False), Costs.of(loop.model, True)
    alone = sum(costs.window([row]) for row in rows)
    assert costs.window(list(rows)) == pytest.approx(alone)  # packed documents do not see each other
    assert 1.2 < again.window(list(rows)) / alone < 1.4


def test_after_five_steps_an_estimate_is_told_once(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 12))
    loop, _ = make_loop(base, rows, tmp_path)
    steps, told = [Step(((i % 3,),), 10, 5, 5.0) for i in range(12)], []
    emit = Estimating(told.append, model=loop.model, rows=rows, steps=steps, config=loop.config, group=ALONE)
    costs = Costs.of(loop.model, False)
    spent = 3.0  # the first step pays what is paid once
    for number, step in enumerate(steps, start=1):
        spent += costs.window([rows[i] for i in step.windows[0]]) * 1e-6 if number > 1 else 0
        emit({"event": "step", "step": number, "seconds": spent})
    kinds = [event["event"] for event in told]
    assert kinds.index("estimate") == 5
    assert kinds.count("estimate") == 1
    assert told[5]["seconds"] == pytest.approx(spent)
    assert told[5]["watt_hours"] == pytest.approx(spent * told[5]["watts"] / 3600)


SETTINGS = {"batch_tokens": 256, "precision": "fp32", "adapter": {"rank": 4}}


def test_only_planning_leaves_no_adapter_and_says_what_training_says(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 40)
    job = Job(file, base, "tiny", TrainingConfig(**SETTINGS), tmp_path / "run", "inputs")
    plan = plan_only(job, PlainChat(base))
    assert not (tmp_path / "run" / "adapter").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert plan["estimate"]["seconds"] > 0
    assert plan["available_bytes"] > plan["peak_bytes"]
    events = []
    train(job, PlainChat(base), emit=events.append)
    (real,) = (event for event in events if event["event"] == "plan")
    for name in ("tokens", "steps", "trained_parameters", "floating_operations", "widest_window"):
        assert real[name] == plan[name]
    assert sum(event["event"] == "estimate" for event in events) == (real["steps"] >= 5)


def test_the_process_reports_what_is_wrong(base, tmp_path, capsys):
    job = {"rows": str(tmp_path / "none.jsonl"), "base": str(base), "base_name": "tiny", "config": SETTINGS}
    job |= {"folder": str(tmp_path), "inputs_digest": "inputs", "start": None, "held_out": None, "cache": None}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert main([str(tmp_path / "job.json")]) != 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "error"


def test_a_run_of_two_processes_is_rehearsed_by_two(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 40)
    job = {"rows": str(file), "base": str(base), "base_name": "tiny", "config": {**SETTINGS, "processes": 2}}
    job |= {"folder": str(tmp_path / "run"), "inputs_digest": "inputs", "start": None, "held_out": None, "cache": None}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "tuneward.training.rehearsal", str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    plan, end = map(json.loads, done.stdout.splitlines())
    assert (plan["event"], end["event"]) == ("plan", "done")
    assert plan["estimate"]["watts"] == 2 * watts_of("cpu")
    alone = plan_only(
        Job(file, base, "tiny", TrainingConfig(**SETTINGS), tmp_path / "alone", "inputs"), Chat.load(base)
    )
    assert plan["steps"] == alone["steps"]
    assert plan["available_bytes"] < 0.7 * alone["available_bytes"]  # two share the machine
