"""Held-out rows: which, their loss for any window size, the best weights, and when it ends."""

import errno
import json
import os

import numpy as np
import pytest
import torch

from tests.training.rows import PlainChat, write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.configuration import validate
from tuneward.errors import ConfigError, TrainingError
from tuneward.modeling.generate import generate
from tuneward.training import checkpoint
from tuneward.training.batches import fill_windows
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve
from tuneward.training.job import Job, train
from tuneward.training.reference import add_reference
from tuneward.training.samples import prompt_and_answer, with_room
from tuneward.training.validation import Course, hold_out, measure, read_measured

HELD = {"fraction": 0.25, "every_steps": 2}


@pytest.fixture(scope="module")
def rows(base, tmp_path_factory):
    return rows_of(base, write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", 24))


def go(base, rows, folder, *, stop_after=None, **settings):
    """Run, or go on; returns the loop. ``stop_after`` counts the asking before windows, of training and validation."""
    folder.mkdir(exist_ok=True)
    if not list(folder.glob("checkpoints/*")):
        torch.manual_seed(0)
    loop, _ = make_loop(base, rows, folder, **{"batch_tokens": 300, "validation": HELD} | settings)
    asked = iter([False] * (stop_after or 0))
    loop.stop = lambda: stop_after is not None and next(asked, True)
    loop.finished = loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    return loop


def weights(loop):
    return {name: parameter.detach().clone() for name, parameter in loop.parameters.items()}


def test_the_share_is_whole_subjects_fixed_by_the_seed():
    groups = np.arange(100, dtype="<u8") // 5
    learned, held = hold_out(groups, fraction=0.2, seed=0)
    assert sorted([*learned, *held]) == list(range(100))
    assert len(held) == 20
    assert not {groups[i] for i in learned} & {groups[i] for i in held}
    assert hold_out(groups, fraction=0.2, seed=0) == (learned, held)
    assert hold_out(groups, fraction=0.2, seed=1)[1] != held
    assert hold_out(groups, fraction=0.0, seed=0) == (list(range(100)), [])
    assert len(hold_out(np.arange(7), fraction=0.001, seed=0)[1]) == 1


def test_a_group_larger_than_the_share_stays_in_training_where_others_fit():
    groups = np.array([1] * 50 + [2, 3, 4, 5])
    for seed in range(8):
        learned, held = hold_out(groups, fraction=0.05, seed=seed)
        assert 1 <= len(held) <= 3
        assert {1} <= {int(groups[i]) for i in learned}


@pytest.mark.parametrize("groups", [[1], [4, 4, 4]])
def test_nothing_left_to_train_on_is_refused(groups):
    with pytest.raises(TrainingError) as caught:
        hold_out(np.array(groups), fraction=0.5, seed=0)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-TRAIN-041", "training.validation.fraction")


def test_rows_of_one_subject_share_a_group(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 12, subjects=4))
    assert len(set(rows.groups.tolist())) == 4
    assert [int(rows.groups[i]) for i in range(4)] == [int(rows.groups[i]) for i in range(4, 8)]
    assert [row.group for row in rows] == rows.groups.tolist()
    alone = rows_of(base, write_rows(tmp_path / "alone" / "train.jsonl", 12))
    assert len(set(alone.groups.tolist())) == 12


def test_no_held_out_row_is_ever_trained_on(base, rows, tmp_path):
    loop, _ = make_loop(base, rows, tmp_path, epochs=3, batch_tokens=300, validation=HELD)
    trained = {i for step in loop.steps for window in step.windows for i in window}
    assert len(loop.validation.held) == 6
    assert trained == set(range(24)) - set(loop.validation.held)


@pytest.mark.parametrize("method", ["sft", "pretrain", "dpo"])
def test_the_loss_is_the_same_for_any_window(base, tmp_path, method):
    kind = {"sft": ("sft", "conversation"), "pretrain": ("sft", "document"), "dpo": ("pair", "pair")}[method]
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 14, kind=kind[0]), form=kind[1])
    loop, layers = make_loop(base, rows, tmp_path, method=method)
    if method == "dpo":
        add_reference(
            rows, loop.look, folder=tmp_path, made_from=(), window_tokens=99, stop=lambda: False, told=lambda n: None
        )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)
    found = {
        room: measure(list(fill_windows(rows.sizes.tolist(), room)), loop.look, loop.objective, rows=rows)
        for room in (1, 64, 10**6)
    }
    alone = [loop.objective(*loop.look([i])) for i in range(len(rows))]
    weight = sum(loop.objective.weigh(row) for row in rows)
    for loss, figures in found.values():
        assert loss == pytest.approx(sum(float(one.total) for one in alone) / weight, rel=1e-6)
        assert set(figures) == set(alone[0].figures)
        for name, value in figures.items():
            count = sum(one.figures[name][1] for one in alone)
            assert value == pytest.approx(sum(float(one.figures[name][0]) for one in alone) / count, rel=1e-5, abs=1e-6)


def test_it_measures_at_the_start_every_so_many_steps_and_at_the_end(base, rows, tmp_path):
    loop = go(base, rows, tmp_path / "a", epochs=2)
    last = len(loop.steps)
    assert [m.step for m in read_measured(loop.validation.path)] == sorted({0, last, *range(2, last, 2)})
    loop = go(base, rows, tmp_path / "b", epochs=2, validation={"fraction": 0.25})
    ends = [n for n, step in enumerate(loop.steps, 1) if step.ends_epoch]
    assert len(ends) == 2
    assert [m.step for m in read_measured(loop.validation.path)] == [0, *ends]


def test_measuring_changes_nothing_of_the_run(base, rows, tmp_path):
    adapter = {"rank": 4, "dropout": 0.2}
    often = {**HELD, "every_steps": 1, "samples": 2, "sample_tokens": 4, "keep": "last"}
    once = {**HELD, "every_steps": 1000, "keep": "last"}
    ends = [
        weights(go(base, rows, tmp_path / str(n), adapter=adapter, validation=v)) for n, v in enumerate((often, once))
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_best_and_patience():
    course = Course()
    taken = [course.take(step, loss, min_delta=0.1) for step, loss in enumerate([0.5, 3.0, 2.0, 1.95, 1.93, 1.8, 2.5])]
    assert taken == [False, True, True, True, True, True, False]  # the start does not take part
    assert (course.best_step, course.best_loss, course.misses, course.mark) == (5, 1.8, 1, 1.8)
    creeping = Course()
    for step in range(1, 6):  # falls for ever, but never by enough at once: the sum of it counts
        creeping.take(step, 2.0 - 0.04 * step, min_delta=0.1)
    assert (creeping.misses, creeping.mark) == (1, 2.0 - 0.16)


WORSE = {"learning_rate": 0.3, "schedule": "constant", "warmup_fraction": 0.0, "epochs": 12}


def test_it_ends_early_and_leaves_the_best_weights(base, rows, tmp_path):
    settings = WORSE | {"validation": {**HELD, "every_steps": 1, "patience": 3}}
    loop = go(base, rows, tmp_path / "a", **settings)
    measured = read_measured(loop.validation.path)
    best = min(measured[1:], key=lambda m: m.loss)
    assert loop.finished
    assert loop.done == best.step + 3 < len(loop.steps)
    assert [m.best for m in measured].index(True) >= 1
    assert loop.validation.course.best_step == best.step
    last = weights(loop)
    loop.take_best()
    assert not all(torch.equal(last[name], p) for name, p in loop.parameters.items())
    windows = [[i] for i in loop.validation.held]
    assert measure(windows, loop.look, loop.objective, rows=rows)[0] == pytest.approx(best.loss, rel=1e-6)
    kept = go(base, rows, tmp_path / "b", **settings | {"validation": settings["validation"] | {"keep": "last"}})
    kept.take_best()
    assert all(torch.equal(last[name], p) for name, p in kept.parameters.items())
    again = go(base, rows, tmp_path / "a", **settings)  # finished is finished
    assert (again.done, again.validation.course) == (loop.done, loop.validation.course)


def test_stopped_anywhere_it_goes_on_to_the_same_bits(base, rows, tmp_path):
    settings = WORSE | {"epochs": 3, "window_tokens": 150}
    settings |= {"adapter": {"rank": 4, "dropout": 0.2}}
    settings |= {"validation": {**HELD, "every_steps": 1, "samples": 2, "sample_tokens": 3}}
    whole = go(base, rows, tmp_path / "whole", **settings)
    for stop in (0, 1, 4, 9, 15, 22):  # within the first measurement, within steps, within later measurements
        folder = tmp_path / str(stop)
        assert not go(base, rows, folder, stop_after=stop, **settings).finished
        for name in ("validation.jsonl", "samples.jsonl"):
            with (folder / name).open("ab") as file:
                file.write(b"\xff\xfe")  # as a power cut may leave a line
        loop = go(base, rows, folder, **settings)
        assert loop.validation.course == whole.validation.course
        assert all(torch.equal(weights(loop)[name], value) for name, value in weights(whole).items())
        for name in ("validation.jsonl", "samples.jsonl"):
            assert (folder / name).read_text() == (tmp_path / "whole" / name).read_text()
        bests = [loop.checkpoints.best(loop.validation.course.best_step) for loop in (loop, whole)]
        assert all(torch.equal(bests[0].tensors[name], value) for name, value in bests[1].tensors.items())


def test_a_best_that_cannot_be_written_keeps_the_one_before(base, rows, tmp_path, monkeypatch):
    settings = {"validation": {**HELD, "every_steps": 1}, "epochs": 3}
    whole_write, count = checkpoint.save_file, [0]

    def full(tensors, path):
        if path.parent.name.startswith(".writing-best"):
            count[0] += 1
            if count[0] == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole_write(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError) as caught:
        go(base, rows, tmp_path / "a", **settings)
    assert caught.value.faults[0].code == "TW-TRAIN-009"
    left = {entry.name for entry in (tmp_path / "a" / "checkpoints").iterdir()}
    assert left == {"best-00000001"}
    monkeypatch.setattr(checkpoint, "save_file", whole_write)
    ends = [go(base, rows, tmp_path / name, **settings) for name in ("a", "b")]
    assert all(torch.equal(weights(ends[0])[name], value) for name, value in weights(ends[1]).items())
    assert ends[0].validation.course == ends[1].validation.course


def test_a_validation_loss_that_is_no_number_ends_the_run(base, rows, tmp_path):
    loop, _ = make_loop(base, rows, tmp_path, validation=HELD)
    loop.objective = loop.validation.objective
    loop.look = lambda numbers, branches=None, look=loop.look: (_spoilt(look(numbers)[0]), look(numbers)[1])
    with pytest.raises(TrainingError) as caught:
        loop.run(lambda upto: Curve(tmp_path / "curve.jsonl", upto=upto))
    assert caught.value.faults[0].code == "TW-TRAIN-007"
    assert read_measured(loop.validation.path) == []


def _spoilt(outputs):
    outputs.hidden.fill_(float("nan"))
    return outputs


@pytest.mark.parametrize("wrong", [{"patience": 2}, {"samples": 3}, {"patience": 2, "samples": 3, "fraction": 0}])
def test_what_needs_held_out_rows_says_so(wrong):
    with pytest.raises(ConfigError) as caught:
        validate({"validation": wrong}, TrainingConfig)
    (fault,) = caught.value.faults
    assert fault.code == "TW-CONF-004"
    assert "need held-out rows: set fraction" in fault.message
    assert all(name in fault.message for name in wrong if name != "fraction")


def test_samples_are_the_greedy_answers_of_the_model_at_that_step(base, rows, tmp_path):
    loop = go(base, rows, tmp_path, epochs=2, validation={**HELD, "samples": 3, "sample_tokens": 5})
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    steps = [m.step for m in read_measured(loop.validation.path)]
    names = [rows[number].id for number in loop.validation.held[:3]]
    assert [(line["step"], line["row"]) for line in lines] == [(step, name) for step in steps for name in names]
    chat = PlainChat(base)
    prompts = [prompt_and_answer(rows[number])[0] for number in loop.validation.held[:3]]
    loop.trainable.pause()
    last = generate(loop.model, prompts, max_tokens=5, stop_ids=chat.stop_ids)
    assert [line["answer"] for line in lines[-3:]] == [chat.decode(ids) for ids in last]
    record = rows[loop.validation.held[0]]
    assert lines[0]["prompt"].rstrip().endswith("assistant")
    assert lines[0]["reference"] in chat.decode(record.ids.tolist())


def test_prompts_of_every_form_of_row(base, tmp_path):
    file = write_rows(tmp_path / "train.jsonl", 4, kind="pair")
    (pair, *_), (talk, *_), (text, *_) = (rows_of(base, file, form=f) for f in ("pair", "conversation", "document"))
    assert prompt_and_answer(pair) == (pair.ids.tolist(), pair.branches[0].tolist())
    prompt, answer = prompt_and_answer(talk)
    assert answer == pair.branches[0].tolist()
    assert prompt == pair.ids.tolist()
    prompt, rest = prompt_and_answer(text)
    assert prompt + rest == text.ids.tolist()
    assert len(prompt) == min(64, len(text.ids) // 2)
    assert with_room([pair, talk], 1, tokens=9, context_tokens=512) == [pair]
    assert with_room([pair, talk], 2, tokens=512, context_tokens=512) == []


def test_a_job_reports_what_it_kept(base, tmp_path):
    file, events = write_rows(tmp_path / "train.jsonl", 24), []
    settings = WORSE | {"precision": "fp32", "batch_tokens": 300, "adapter": {"rank": 4}}
    config = TrainingConfig(**settings, validation={**HELD, "every_steps": 1, "patience": 2})
    outcome = train(Job(file, base, "tiny", config, tmp_path / "run", "x"), PlainChat(base), emit=events.append)
    figures = outcome.figures
    assert (figures["rows"], figures["validation_rows"]) == (18, 6)
    assert figures["stopped_early"]
    assert figures["kept_step"] == figures["best_step"] == figures["steps"] - 2
    assert figures["validation_best_loss"] < figures["validation_final_loss"]
    said = [event for event in events if event["event"] == "validation"]
    assert [event["ended"] for event in said] == [False] * (len(said) - 1) + [True]
    picture = outcome.picture.read_text()
    assert f"best after step {figures['best_step']}" in picture
    assert json.loads(json.dumps(events)) == events


def test_no_content_of_rows_leaves_through_events(base, tmp_path):
    file, events = write_rows(tmp_path / "train.jsonl", 12), []
    config = TrainingConfig(precision="fp32", adapter={"rank": 4}, validation={**HELD, "samples": 2})
    train(Job(file, base, "tiny", config, tmp_path / "run", "x"), PlainChat(base), emit=events.append)
    assert "rec_" not in json.dumps(events)
    texts = [json.loads(line)["prompt"] for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert texts
    assert not any(text in json.dumps(events) for text in texts)
