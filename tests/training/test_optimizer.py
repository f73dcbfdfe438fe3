import importlib.util

import pytest
import torch
from torch import nn

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.errors import MachineError
from tuneward.modeling.base_model import load_base
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve
from tuneward.training.optimizer import (
    LAST_SHARE,
    OPTIMIZERS,
    STATE_BYTES,
    clip_gradients,
    embedding_names,
    learning_rate,
    make_optimizer,
    require_optimizer,
    restore_state,
    state_of,
)


def rates(steps, **settings):
    config = TrainingConfig(learning_rate=1.0, **settings)
    return [learning_rate(step, steps=steps, config=config) for step in range(steps)]


def test_cosine_warms_up_peaks_and_falls_to_a_tenth():
    course = rates(100, warmup_fraction=0.1)
    assert course[0] == pytest.approx(1 / 11)
    assert course[10] == max(course) == 1.0
    assert course[:11] == sorted(course[:11])
    assert course[10:] == sorted(course[10:], reverse=True)
    assert course[55] == pytest.approx((1 + LAST_SHARE) / 2)
    assert LAST_SHARE < course[-1] < LAST_SHARE + 0.01


def test_linear_warms_up_and_falls_in_a_line_towards_zero():
    course = rates(10, schedule="linear", warmup_fraction=0.2)
    assert course == pytest.approx([1 / 3, 2 / 3, *((8 - n) / 8 for n in range(8))])


def test_constant_stays():
    assert rates(10, schedule="constant", warmup_fraction=0.2)[2:] == [1.0] * 8


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_reach_the_full_rate(steps):
    assert max(rates(steps, warmup_fraction=1.0)) == 1.0


def test_equals_torchs_adamw_with_decay_on_matrices_only():
    torch.manual_seed(0)
    matrix, vector = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))
    twin_matrix, twin_vector = (nn.Parameter(p.detach().clone()) for p in (matrix, vector))
    ours = make_optimizer({"matrix": matrix, "vector": vector}, TrainingConfig(learning_rate=0.1, weight_decay=0.5))
    theirs = [
        torch.optim.AdamW([twin_matrix], lr=0.1, weight_decay=0.5),
        torch.optim.AdamW([twin_vector], lr=0.1, weight_decay=0.0),
    ]
    for _ in range(3):
        for one, two in ((matrix, twin_matrix), (vector, twin_vector)):
            one.grad = torch.randn_like(one)
            two.grad = one.grad.clone()
        ours.step()
        for optimizer in theirs:
            optimizer.step()
    torch.testing.assert_close(matrix, twin_matrix)
    torch.testing.assert_close(vector, twin_vector)


def test_clip_shortens_all_together():
    one, two = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    one.grad, two.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert float(clip_gradients([one, two], 1.0)) == 5.0
    torch.testing.assert_close(torch.cat([one.grad, two.grad]), torch.tensor([0.6, 0.0, 0.8]))


def test_embeddings_and_norms_are_not_decayed(base):
    model = load_base(base, precision="fp32")
    parameters = dict(model.named_parameters())
    embeddings = embedding_names(model)
    assert embeddings == {"model.embed_tokens.weight"}  # the head is tied to it and stands here once
    optimizer = make_optimizer(parameters, TrainingConfig(weight_decay=0.5), embeddings=embeddings)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in parameters.items() if decays[id(p)] == 0.5} == {
        name for name in parameters if name.endswith("proj.weight")
    }
    assert len(decays) == len(parameters)


def test_betas_and_eps_reach_the_optimizer():
    config = TrainingConfig(betas=(0.8, 0.95), eps=1e-6)
    (group,) = make_optimizer({"a": nn.Parameter(torch.ones(2, 2))}, config).param_groups
    assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.95), 1e-6, True)


KINDS = [kind for kind in OPTIMIZERS if kind != "adamw"]


@pytest.fixture
def bitsandbytes():
    return pytest.importorskip("bitsandbytes")


def one_step(optimizer, parameter, number):
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    optimizer.step()


@pytest.mark.filterwarnings("ignore:Paged optimizers")
@pytest.mark.parametrize("kind", KINDS)
def test_other_optimizers_come_near_adamw_and_keep_less(bitsandbytes, kind):
    start = torch.randn(96, 96, generator=torch.Generator().manual_seed(9))
    ends, kept = {}, {}
    for name in ("adamw", kind):
        parameter = nn.Parameter(start.clone())
        optimizer = make_optimizer({"a": parameter}, TrainingConfig(optimizer=name, weight_decay=0.1))
        for number in range(20):
            one_step(optimizer, parameter, number)
        ends[name] = parameter.detach()
        kept[name] = sum(value.nbytes for value in state_of(optimizer, parameter).values() if value.ndim)
    moved = (ends["adamw"] - start).norm()
    assert (ends[kind] - ends["adamw"]).norm() < (0.1 if "8bit" in kind else 1e-5) * moved
    assert kept[kind] == STATE_BYTES[kind] * start.numel()


@pytest.mark.filterwarnings("ignore:Paged optimizers")
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
def test_state_comes_back_bit_for_bit(request, kind):
    if kind != "adamw":
        request.getfixturevalue("bitsandbytes")
    config = TrainingConfig(optimizer=kind)
    for shape in ((80, 80), (3, 5)):  # large enough for 8 bits, and kept in 32 in any case
        whole, half = (nn.Parameter(torch.ones(shape)) for _ in range(2))
        one, two = (make_optimizer({"a": p}, config) for p in (whole, half))
        for number in range(6):
            one_step(one, whole, number)
            if number < 3:
                one_step(two, half, number)
        again = nn.Parameter(half.detach().clone())
        three = make_optimizer({"a": again}, config)
        restore_state(three, again, {kind: value.clone() for kind, value in state_of(two, half).items()})
        for number in range(3, 6):
            one_step(three, again, number)
        assert torch.equal(again, whole)
        assert not torch.equal(again, half)


def test_a_run_in_8_bits_goes_on_bit_for_bit(bitsandbytes, base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 23))
    settings = {
        "optimizer": "adamw_8bit",
        "batch_tokens": 300,
        "epochs": 4,
        "adapter": {"rank": 64, "targets": ["q_proj", "gate_proj"]},
    }
    ends = []
    for folder, stops in ((tmp_path / "whole", ()), (tmp_path / "stopped", (3, 5))):
        folder.mkdir()
        for after in (*stops, None):
            loop, _ = make_loop(base, rows, folder, **settings)
            asked = iter([False] * after if after else [])
            loop.stop = lambda asked=asked, after=after: after is not None and next(asked, True)
            assert loop.run(lambda upto, folder=folder: Curve(folder / "curve.jsonl", upto=upto)) == (after is None)
        assert any(
            value.dtype == torch.uint8
            for state in loop.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        )
        ends.append({name: p.detach().clone() for name, p in loop.parameters.items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_missing_package_is_one_fault_with_its_cure(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    require_optimizer(TrainingConfig(), "cpu")
    with pytest.raises(MachineError) as caught:
        require_optimizer(TrainingConfig(optimizer="adamw_8bit"), "cuda")
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-ENV-005", "training.optimizer")
    assert "tuneward[bitsandbytes]" in fault.cure


def test_paging_without_a_gpu_is_refused(bitsandbytes):
    with pytest.raises(MachineError) as caught:
        require_optimizer(TrainingConfig(optimizer="paged_adamw_8bit"), "cpu")
    (fault,) = caught.value.faults
    assert fault.code == "TW-TRAIN-043"
    assert fault.cure.startswith("set adamw_8bit,")
    require_optimizer(TrainingConfig(optimizer="paged_adamw_8bit"), "cuda")


def test_8_bit_blocks_that_processes_would_cut_are_refused(bitsandbytes):
    config = TrainingConfig(optimizer="adamw_8bit", adapter={"kind": "full"})
    require_optimizer(config, "cpu")
    with pytest.raises(MachineError, match="TW-TRAIN-043"):
        require_optimizer(config, "cpu", processes=2)
    require_optimizer(TrainingConfig(optimizer="adamw_8bit"), "cpu", processes=2)  # factors stay whole in each
