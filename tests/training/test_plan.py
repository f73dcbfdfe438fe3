import dataclasses

import pytest

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.errors import TrainingError
from tuneward.training.config import TrainingConfig
from tuneward.training.plan import available_bytes, make_plan, refuse_what_cannot_fit, resident_bytes


@pytest.fixture
def plan(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 20))
    loop, _ = make_loop(base, rows, tmp_path, epochs=2, batch_tokens=400)
    return make_plan(loop.model, rows=rows, steps=loop.steps, config=loop.config, precision="fp32"), rows, loop


def test_counts_are_exact(plan):
    made, rows, loop = plan
    assert made.tokens == 2 * sum(row.ids.size for row in rows)
    assert made.trained_tokens == 2 * sum(row.trained for row in rows)
    assert made.trained_parameters == sum(p.numel() for p in loop.parameters.values())
    assert made.base_parameters == 304 * 64 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96) + 5 * 64
    assert made.device == made.to_json()["device"] == "cpu"
    assert made.longest_row == max(row.ids.size for row in rows)
    assert made.widest_window == max(sum(rows[i].ids.size for i in w) for step in loop.steps for w in step.windows)
    assert made.memory["weights"] == 4 * made.base_parameters
    assert made.memory["optimizer"] == 8 * made.trained_parameters
    assert made.peak_bytes == made.to_json()["peak_bytes"] == sum(made.memory.values())


def test_recomputed_layers_and_smaller_moments_are_counted(base, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 20))

    def memory(**settings):
        loop, _ = make_loop(base, rows, tmp_path, batch_tokens=400, **settings)
        config = TrainingConfig(**{"precision": "fp32", "optimizer": "adamw_8bit"} | settings)
        return make_plan(loop.model, rows=rows, steps=loop.steps, config=config, precision="fp32").memory

    plain, whole = (memory(recompute=setting) for setting in (False, True))
    assert whole["activations"] < plain["activations"]
    assert plain["optimizer"] == int((2 + 8 / 256) / 8 * 2 * plain["gradients"])


def test_what_cannot_fit_is_refused_with_the_parts_and_a_cure(plan):
    made = dataclasses.replace(
        plan[0], memory={"weights": 10 * 2**20, "activations": 100 * 2**20}, widest_window=1000, longest_row=300
    )
    refuse_what_cannot_fit(made, 110 * 2**20)
    refuse_what_cannot_fit(made, None)
    with pytest.raises(TrainingError) as caught:
        refuse_what_cannot_fit(made, 60 * 2**20)
    (fault,) = caught.value.faults
    assert fault.code == "TW-TRAIN-006"
    assert "weights 10, activations 100" in fault.message
    assert fault.cure.startswith("set training.window_tokens to 500;")
    with pytest.raises(TrainingError) as caught:  # a row fills the window: a smaller one would not help
        refuse_what_cannot_fit(dataclasses.replace(made, longest_row=900), 60 * 2**20)
    assert "split rows of more than 500 tokens" in caught.value.faults[0].cure
    with pytest.raises(TrainingError) as caught:
        refuse_what_cannot_fit(made, 5 * 2**20)
    assert "smaller base" in caught.value.faults[0].cure


def test_the_machine_is_asked():
    assert resident_bytes() > 50 * 2**20
    assert available_bytes() > resident_bytes()
