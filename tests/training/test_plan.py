import dataclasses

import pytest
import torch

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.training.footprint import measure
from tuneward.training.plan import MIB, SLACK, available_bytes, make_plan, resident_bytes


def planned(loop, rows, **settings):
    config = loop.config.model_copy(update=settings)
    loop.trainable.begin()
    footprint = measure(loop.model, rows[0].ids.tolist())
    loop.trainable.pause()
    made = make_plan(
        loop.model,
        rows=rows,
        steps=loop.steps,
        config=config,
        precision="fp32",
        footprint=footprint,
        masters=loop.parameters,
        resident=700 * MIB,
    )
    return made, footprint


@pytest.fixture
def plan(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 20))
    loop, _ = make_loop(base, rows, tmp_path, epochs=2, batch_tokens=400)
    return planned(loop, rows)[0], rows, loop


def test_counts_are_exact(plan):
    made, rows, loop = plan
    assert made.tokens == 2 * sum(row.ids.size for row in rows)
    assert made.trained_tokens == 2 * sum(row.trained for row in rows)
    assert made.trained_parameters == sum(p.numel() for p in loop.parameters.values())
    inner = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96) + 5 * 64
    assert made.base_parameters == 304 * 64 + inner
    assert made.device == made.to_json()["device"] == "cpu"
    assert made.longest_row == max(row.ids.size for row in rows)
    assert made.widest_window == max(sum(rows[i].ids.size for i in w) for step in loop.steps for w in step.windows)
    assert made.memory["weights"] == 4 * made.base_parameters
    assert made.memory["optimizer"] == 8 * made.trained_parameters
    assert made.memory["runtime"] == 700 * MIB - 4 * made.base_parameters - 4 * made.trained_parameters
    assert made.peak_bytes == made.to_json()["peak_bytes"] == sum(made.memory.values())
    assert dataclasses.replace(made, reached=2**40).peak_bytes == 2**40
    assert made.six_nd == 6 * (made.base_parameters + made.trained_parameters) * made.tokens
    assert made.floating_operations == (
        made.tokens * (4 * inner + 6 * made.trained_parameters) + made.trained_tokens * 4 * 304 * 64
    )


def test_a_full_training_counts_its_weights_once(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 20))
    loop, _ = make_loop(base, rows, tmp_path, adapter={"kind": "full"}, batch_tokens=400)
    made, _ = planned(loop, rows)
    assert (made.base_parameters, made.memory["weights"]) == (0, 0)  # in fp32 the weights are the masters
    assert made.memory["adapter"] == made.memory["gradients"] == 4 * made.trained_parameters
    inner = made.trained_parameters - 304 * 64
    assert made.floating_operations == made.tokens * 6 * inner + made.trained_tokens * 6 * 304 * 64
    half, _ = make_loop(base, rows, tmp_path, adapter={"kind": "full"}, batch_tokens=400, precision="bf16")
    made, _ = planned(half, rows)
    assert made.memory["weights"] == 2 * made.trained_parameters  # rounded copies beside the masters
    assert made.memory["adapter"] == 4 * made.trained_parameters


def test_recomputed_layers_smaller_heads_and_smaller_moments_are_counted(plan):
    _, rows, loop = plan
    plain, _ = planned(loop, rows, optimizer="adamw_8bit")
    whole, _ = planned(loop, rows, recompute=True)
    assert whole.memory["activations"] < plain.memory["activations"]
    assert plain.memory["optimizer"] == int((2 + 8 / 256) / 8 * 2 * plain.memory["gradients"])


def test_slack_is_a_share_of_what_comes_and_goes(plan):
    memory = plan[0].memory
    assert 0 < memory["slack"] <= SLACK["cpu"] * (memory["activations"] + memory["backward"] + memory["loss_head"]) + 1


def test_the_machine_is_asked():
    assert resident_bytes() > 50 * 2**20
    assert available_bytes() > resident_bytes()
    assert torch.cuda.is_available() or resident_bytes("cpu") is not None
