import pytest
import torch
from torch.nn import functional

from tests.training.rows import write_rows
from tests.training.runs import OBJECTIVES, make_loop, rows_for, rows_of, with_reference
from tuneward.errors import TrainingError
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.batches import Window
from tuneward.training.curve import Curve


@pytest.fixture(scope="module")
def rows(base, tmp_path_factory):
    return rows_of(base, write_rows(tmp_path_factory.mktemp("rows") / "train.jsonl", 23))


@pytest.fixture(scope="module")
def rows_by_objective(base, tmp_path_factory):
    """Name → its rows, each made once."""
    folder = tmp_path_factory.mktemp("objectives")
    return {name: rows_for(base, folder, name, 23) for name in OBJECTIVES}


every_objective = pytest.mark.parametrize("name", list(OBJECTIVES))


def fill(layers):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)


def gradients(loop):
    return {name: parameter.grad.clone() for name, parameter in loop.parameters.items()}


def assert_same(one, two):
    assert set(one) == set(two)
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, two[name], atol=1e-5 * float(two[name].abs().max()), rtol=1e-4)


def test_packed_equals_one_by_one_with_the_plain_head(base, rows, tmp_path):
    loop, layers = make_loop(base, rows, tmp_path)
    fill(layers)
    packed = loop.loss(Window.pack(list(rows)))
    packed.total.backward()
    ours = gradients(loop)
    loop.optimizer.zero_grad()
    total = 0.0
    for row in rows:
        ids = torch.tensor(row.ids, dtype=torch.int64).unsqueeze(0)
        layout = PackedDocuments((ids.shape[1],))
        logits = loop.model(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
        labels = torch.tensor(row.labels, dtype=torch.int64)
        loss = functional.cross_entropy(logits[0, :-1], labels[1:], ignore_index=-100, reduction="sum")
        loss.backward()
        total += float(loss.detach())
    assert float(packed.total.detach()) == pytest.approx(total, rel=1e-6)
    assert_same(ours, gradients(loop))


@every_objective
def test_packed_equals_one_by_one(base, rows_by_objective, tmp_path, name):
    rows = rows_by_objective[name]
    loop, layers = make_loop(base, rows, tmp_path, batch_tokens=10**6, window_tokens=10**6, **OBJECTIVES[name])
    with_reference(loop, tmp_path)
    fill(layers)
    loop.objective.survey(loop._passes(loop.steps[0]), loop.group.summed)
    packed = loop.loss(Window.pack(list(rows), branches=loop.objective.branches))
    packed.total.backward()
    ours, total = gradients(loop), 0.0
    loop.optimizer.zero_grad()
    for row in rows:
        alone = loop.loss(Window.pack([row], branches=loop.objective.branches))
        alone.total.backward()
        total += float(alone.total.detach())
    assert float(packed.total.detach()) == pytest.approx(total, rel=1e-6)
    assert_same(ours, gradients(loop))


def run_step(base, rows, folder, window_tokens, settings):
    """Gradients of one step over all rows, as the optimizer sees them."""
    loop, layers = make_loop(
        base, rows, folder, batch_tokens=10**6, window_tokens=window_tokens, clip_norm=1e9, **settings
    )
    with_reference(loop, folder)
    fill(layers)
    (step,) = loop.steps
    outcome = loop._step(step)
    return outcome, gradients(loop), step


@every_objective
def test_accumulated_equals_one_big_batch_partial_last_window_included(base, rows_by_objective, tmp_path, name):
    rows, settings = rows_by_objective[name], OBJECTIVES[name]
    big, whole, step = run_step(base, rows, tmp_path, 10**6, settings)
    assert len(step.windows) == 1
    for window_tokens in (1, 150, 400):
        small, parts, step = run_step(base, rows, tmp_path, window_tokens, settings)
        sizes = {sum(rows[i].size for i in window) for window in step.windows}
        assert len(sizes) > 1  # unequal windows, the last one partial: means of means would differ
        assert small.loss == pytest.approx(big.loss, rel=1e-6)
        assert small.norm == pytest.approx(big.norm, rel=1e-5)
        assert small.figures == pytest.approx(big.figures, rel=1e-5, abs=1e-5)
        assert_same(parts, whole)


def run_all(base, rows, folder, **settings):
    torch.manual_seed(0)
    loop, _ = make_loop(base, rows, folder, batch_tokens=300, **settings)
    folder.mkdir(exist_ok=True)
    with_reference(loop, folder)
    assert loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    return {name: p.detach().clone() for name, p in loop.parameters.items()}, loop


@pytest.mark.parametrize("settings", [{}, {"adapter": {"rank": 4, "dropout": 0.2}}])
def test_same_seed_same_bits(base, rows, tmp_path, settings):
    one, _ = run_all(base, rows, tmp_path / "a", **settings)
    two, _ = run_all(base, rows, tmp_path / "b", **settings)
    other, _ = run_all(base, rows, tmp_path / "c", seed=1, **settings)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("name", "dropout"), [*((name, 0.2) for name in OBJECTIVES), ("sft", 0.0)])
def test_stopped_and_gone_on_equals_uninterrupted(base, rows_by_objective, tmp_path, name, dropout):
    rows = rows_by_objective[name]
    settings = {"adapter": {"rank": 4, "dropout": dropout}, "window_tokens": 120, "epochs": 2} | OBJECTIVES[name]
    whole, finished = run_all(base, rows, tmp_path / "a", **settings)
    passes = sum(len(step.windows) for step in finished.steps)
    for after in (0, 1, passes // 2, passes - 1):  # stops between steps and in the middle of one
        folder = tmp_path / f"b{after}"
        folder.mkdir()
        torch.manual_seed(0)
        loop = with_reference(make_loop(base, rows, folder, batch_tokens=300, **settings)[0], folder)
        asked = iter([False] * after)
        loop.stop = lambda asked=asked: next(asked, True)
        assert not loop.run(lambda upto, folder=folder: Curve(folder / "curve.jsonl", upto=upto))
        torch.manual_seed(99)  # whatever the new process's random state is
        again, _ = run_all(base, rows, folder, **settings)
        assert all(torch.equal(again[name], whole[name]) for name in whole)
        losses = [
            [(p.step, p.loss, p.tokens) for p in Curve(place / "curve.jsonl", upto=10**9).points]
            for place in (tmp_path / "a", folder)
        ]
        assert losses[0] == losses[1]


def test_gone_on_with_smaller_windows_it_ends_at_the_same_weights_and_says_which_steps_had_which(base, rows, tmp_path):
    settings, folder, told = {"epochs": 3}, tmp_path / "changed", []
    whole, finished = run_all(base, rows, tmp_path / "whole", window_tokens=300, **settings)

    def go_on(steps, **changed):
        loop, _ = make_loop(base, rows, folder, batch_tokens=300, **settings | changed)
        loop.emit = lambda event: told.append(event["text"]) if event["event"] == "note" else None
        loop.stop = lambda: loop.done == steps
        loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
        return loop

    folder.mkdir()
    assert go_on(2, window_tokens=300).counters.settings_by_step() is None
    assert go_on(2, window_tokens=200).done == 2  # no step runs with it
    go_on(4, window_tokens=100)
    assert go_on(5, window_tokens=100).counters.resumed == 2  # of the second nothing was kept: it did nothing
    loop = go_on(-1, window_tokens=100, recompute=True)
    assert loop.done == len(loop.steps) == len(finished.steps) > 5
    again = {name: p.detach() for name, p in loop.parameters.items()}
    assert not all(torch.equal(again[name], whole[name]) for name in whole)
    assert all(float((again[name] - whole[name]).norm() / whole[name].norm()) < 1e-3 for name in whole)
    assert told == [
        "from step 3 on with window_tokens 200, up to there with window_tokens 300: same losses, other bits",
        "from step 3 on with window_tokens 100, up to there with window_tokens 300: same losses, other bits",
        "from step 6 on with recompute true, up to there with recompute false: same losses, other bits",
    ]
    assert loop.counters.settings_by_step() == (
        "steps 1 to 2: window_tokens 300, head_memory_mib 64, recompute false; "
        "steps 3 to 5: window_tokens 100, head_memory_mib 64, recompute false; "
        "steps 6 to the last: window_tokens 100, head_memory_mib 64, recompute true"
    )


def test_the_loss_falls(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 60))
    _, loop = run_all(base, rows, tmp_path, epochs=8, learning_rate=1e-2, adapter={"rank": 8})
    points = Curve(tmp_path / "curve.jsonl", upto=10**9).points
    assert loop.counters.tokens == points[-1].tokens == sum(row.ids.size for row in rows) * 8
    assert points[-1].loss < 0.75 * points[0].loss


@pytest.mark.parametrize("poison", ["weights", "reference"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_preference_loss_that_is_not_finite_names_step_and_rows(base, rows_by_objective, tmp_path, poison, value):
    rows = rows_by_objective["dpo"]
    loop, layers = make_loop(base, rows, tmp_path, batch_rows=4, **OBJECTIVES["dpo"])
    with_reference(loop, tmp_path)
    bad = loop.steps[1].windows[0][0]  # a row of the second step
    if poison == "reference":
        rows.reference = rows.reference.copy()
        rows.reference[bad, 0] = value
    else:
        whole = loop._step

        def poisoned(step):
            if step is loop.steps[1]:
                with torch.no_grad():
                    next(iter(layers.values())).a.fill_(value)
            return whole(step)

        loop._step = poisoned
    with pytest.raises(TrainingError) as caught:
        loop.run(lambda upto: Curve(tmp_path / "curve.jsonl", upto=upto))
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-TRAIN-007", "step 2")
    assert rows[bad].id in fault.message


def test_nan_stops_the_run_names_step_and_rows_and_keeps_the_last_checkpoint(base, rows, tmp_path):
    loop, layers = make_loop(base, rows, tmp_path, batch_tokens=300, checkpoint_seconds=1e-6)
    whole, count = loop._step, [0]

    def poisoned(step):
        count[0] += 1
        if count[0] == 3:
            with torch.no_grad():
                next(iter(layers.values())).a.fill_(float("nan"))
        return whole(step)

    loop._step = poisoned
    with pytest.raises(TrainingError) as caught:
        loop.run(lambda upto: Curve(tmp_path / "curve.jsonl", upto=upto))
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-TRAIN-007", "step 3")
    names = {rows[i].id for window in loop.steps[2].windows for i in window}
    assert any(name in fault.message for name in names)
    assert "checkpoint of step 2 is kept" in fault.message
    kept = loop.checkpoints.newest()
    assert kept.step == 2
    assert all(torch.isfinite(tensor).all() for name, tensor in kept.tensors.items() if name != "random")


def test_running_out_of_memory_is_explained(base, rows, tmp_path):
    loop, _ = make_loop(base, rows, tmp_path)

    def fail(window):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")

    loop.loss = fail
    with pytest.raises(TrainingError) as caught:
        loop.run(lambda upto: Curve(tmp_path / "curve.jsonl", upto=upto))
    assert caught.value.faults[0].code == "TW-TRAIN-006"


def test_a_survey_of_a_step_can_be_stopped_between_its_windows(base, rows_by_objective, tmp_path):
    settings = {"batch_tokens": 4096, "window_tokens": 120} | OBJECTIVES["kto"]
    loop, _ = make_loop(base, rows_by_objective["kto"], tmp_path, **settings)
    with_reference(loop, tmp_path)
    passed, plain = [], loop.look
    loop.look = lambda indices, branches=None: passed.append(indices) or plain(indices, branches)
    loop.stop = lambda: len(passed) == 1
    assert len(loop.steps[0].windows) > 2
    assert not loop.run(lambda upto: Curve(tmp_path / "curve.jsonl", upto=upto))
    assert len(passed) == 1
