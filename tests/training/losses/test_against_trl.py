"""Every preference loss and the reward loss against TRL: the same rows, batches, start and optimizer, step by step.

TRL's and our definitions differ in four places; the comparison is set up so that both mean the same:

- A supervised term is TRL's mean over the tokens of a micro-batch, ours a mean over each answer: TRL gets one pair per
  micro-batch and accumulates.
- ORPO of TRL takes the prompt into that mean: these pairs have prompts of one token, which nothing predicts.
- KTO of TRL takes its distance from the reference over a micro-batch and puts the answer of the row before behind each
  prompt, the first row of a batch getting the last's: one micro-batch is one step, and our rows carry those answers.
- Conservative DPO has no name of its own in TRL; `aot`, which sorts a batch before it compares, is the same for
  batches of one pair.
"""

import socket

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.modeling.adapter_files import SCORE
from tuneward.training.curve import Curve
from tuneward.training.reference import add_reference
from tuneward.training.rows import Row, Rows
from tuneward.training.rows import write_rows as write_to

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")
from trl.experimental.cpo import CPOConfig, CPOTrainer  # noqa: E402
from trl.experimental.orpo import ORPOConfig, ORPOTrainer  # noqa: E402

BATCH, STEPS, RATE = 4, 8, 3e-3


@pytest.fixture(autouse=True)
def _nobody_is_called(monkeypatch):
    called = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: called.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **keywords: called.append(arguments))
    yield
    assert not called


def pairs(base, folder, *, short_prompts=False):
    rows = rows_of(base, write_rows(folder / "train.jsonl", BATCH * STEPS, kind="pair"), form="pair")
    changed = []
    for number, row in enumerate(rows):
        prompt = row.ids[:1] if short_prompts else row.ids
        changed.append(Row(row.id, prompt, np.full_like(prompt, -100), row.branches, margin=0.25 * (number % 3)))
    return written(changed, folder / "changed")


def judged(base, folder):
    """Rows whose foreign answers are those that TRL pairs them with."""
    rows = rows_of(base, write_rows(folder / "train.jsonl", BATCH * STEPS, kind="judged"), form="judged")
    loop, _ = make_loop(base, rows, folder, **SAME)
    foreign = {}
    for step in loop.steps:
        (window,) = step.windows
        for at, number in enumerate(window):
            foreign[number] = rows[window[at - 1]].branches[0]
    changed = [
        Row(row.id, row.ids, row.labels, (row.branches[0], foreign[number]), row.desirable)
        for number, row in enumerate(rows)
    ]
    return written(changed, folder / "changed")


def written(rows, folder) -> Rows:
    folder.mkdir()
    write_to(rows, folder, digest="changed")
    return Rows(folder)


SAME = {
    "batch_rows": BATCH,
    "batch_tokens": 10**6,
    "window_tokens": 10**6,
    "learning_rate": RATE,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "weight_decay": 0.01,
}


def ours(base, rows, folder, **settings):
    """Losses, start folder, trained tensors and the order of rows; the adapter starts where B is not zero."""
    loop, layers = make_loop(base, rows, folder, **SAME, **settings)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.05, generator=generator)
    score = loop.objective.parameters.get(f"{SCORE}.weight")
    loop.trainable.save(folder / "start", base_name="tiny", score=score)
    if loop.objective.needs_reference:
        add_reference(
            rows,
            loop.look,
            folder=folder / "reference",
            made_from=["start"],
            window_tokens=10**6,
            stop=lambda: False,
            told=lambda rows: None,
        )
    assert loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    losses = [point.loss for point in Curve(folder / "curve.jsonl", upto=10**9).points]
    order = [number for step in loop.steps for window in step.windows for number in window]
    return losses, loop.parameters, order


def theirs(trainer_class, config_class, folder, model, tokenizer, dataset, *, at_once=BATCH, **settings):
    """Loss of each optimizer step, as TRL trains."""
    trainer = trainer_class(
        model=model,
        args=config_class(
            output_dir=str(folder / "trl"),
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=BATCH // at_once,
            num_train_epochs=1,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=0.01,
            max_grad_norm=1.0,
            adam_epsilon=1e-8,
            train_sampling_strategy="sequential",
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    seen, step = [], trainer.training_step

    def watched(*arguments, **keywords):
        seen.append(float(step(*arguments, **keywords)))
        return torch.tensor(seen[-1])

    trainer.training_step = watched
    trainer.train()
    return np.array(seen).reshape(-1, BATCH // at_once).sum(1).tolist()


def texts(tokenizer, rows, order):
    """Rows as TRL wants them, in the order of our steps; proven to be the same tokens."""
    told = []
    for number in order:
        row = rows[number]
        prompt, *answers = (tokenizer.decode(part) for part in (row.ids, *row.branches))
        for answer, branch in zip(answers, row.branches, strict=True):
            assert tokenizer(prompt + answer)["input_ids"] == [*row.ids, *branch]
        told.append((prompt, answers, row.desirable))
    return told


def assert_same_course(ours, theirs):
    assert len(ours) == len(theirs) == STEPS
    difference = (np.array(ours) - np.array(theirs)) / np.abs(theirs)
    assert np.abs(difference).max() < 1e-5
    assert abs(difference.mean()) < 3e-6  # no drift to one side
    assert np.ptp(ours) > 0.01 * np.mean(np.abs(ours))  # something happened


def assert_same_weights(parameters, model):
    state = get_peft_model_state_dict(model)
    sides = {"a": "lora_A", "b": "lora_B"}
    for name, parameter in parameters.items():
        path, _, side = name.rpartition(".")
        key = f"base_model.model.{path}.{sides.get(side, side)}" + (".weight" if side in sides else "")
        torch.testing.assert_close(parameter.detach(), state.pop(key), atol=2e-5, rtol=1e-4)
    assert not state


def causal(base, folder):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, folder / "start", is_trainable=True)


#: our settings, TRL's trainer and its settings, pairs per micro-batch, whether prompts have one token
PAIRS = {
    "dpo": ({"loss": "dpo", "beta": 0.3}, trl.DPOTrainer, trl.DPOConfig, {"loss_type": "sigmoid", "beta": 0.3}, BATCH),
    "dpo+sft": (
        {"loss": "dpo", "beta": 0.3, "sft_weight": 0.5},
        trl.DPOTrainer,
        trl.DPOConfig,
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5], "beta": 0.3},
        1,
    ),
    "cdpo": (
        {"loss": "dpo", "beta": 0.3, "label_smoothing": 0.2},
        trl.DPOTrainer,
        trl.DPOConfig,
        {"loss_type": "aot", "beta": 0.3, "label_smoothing": 0.2},
        1,
    ),
    "ipo": ({"loss": "ipo", "beta": 0.4}, trl.DPOTrainer, trl.DPOConfig, {"loss_type": "ipo", "beta": 0.4}, BATCH),
    "simpo": (
        {"loss": "simpo", "beta": 1.5, "gamma": 0.7},
        CPOTrainer,
        CPOConfig,
        {"loss_type": "simpo", "beta": 1.5, "simpo_gamma": 0.7, "cpo_alpha": 0.0},
        BATCH,
    ),
    "simpo, smooth, +sft": (
        {"loss": "simpo", "beta": 1.5, "gamma": 0.7, "label_smoothing": 0.1, "sft_weight": 0.5},
        CPOTrainer,
        CPOConfig,
        {"loss_type": "simpo", "beta": 1.5, "simpo_gamma": 0.7, "label_smoothing": 0.1, "cpo_alpha": 0.5},
        1,
    ),
    "orpo": ({"loss": "orpo", "beta": 0.6}, ORPOTrainer, ORPOConfig, {"beta": 0.6}, 1),
}


@pytest.mark.parametrize("name", list(PAIRS))
def test_pair_losses_take_the_same_course(base, tmp_path, name):
    preference, trainer, config, settings, at_once = PAIRS[name]
    rows = pairs(base, tmp_path, short_prompts=name == "orpo")
    losses, parameters, order = ours(base, rows, tmp_path, method="dpo", preference=preference)
    tokenizer = AutoTokenizer.from_pretrained(base)
    told = [{"prompt": p, "chosen": c, "rejected": r} for p, (c, r), _ in texts(tokenizer, rows, order)]
    model, dataset = causal(base, tmp_path), datasets.Dataset.from_list(told)
    expected = theirs(trainer, config, tmp_path, model, tokenizer, dataset, at_once=at_once, **settings)
    assert_same_course(losses, expected)
    assert_same_weights(parameters, model)


def test_kto_takes_the_same_course(base, tmp_path):
    rows = judged(base, tmp_path)
    weights = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.8}
    losses, parameters, order = ours(base, rows, tmp_path, method="dpo", preference={"loss": "kto", **weights})
    tokenizer = AutoTokenizer.from_pretrained(base)
    told = [{"prompt": p, "completion": c, "label": good} for p, (c, _), good in texts(tokenizer, rows, order)]
    model, dataset = causal(base, tmp_path), datasets.Dataset.from_list(told)
    expected = theirs(trl.KTOTrainer, trl.KTOConfig, tmp_path, model, tokenizer, dataset, **weights)
    assert_same_course(losses, expected)
    assert_same_weights(parameters, model)
    distances = [point.figures["distance"] for point in Curve(tmp_path / "curve.jsonl", upto=10**9).points]
    assert max(distances) > 0.01  # the distance was felt


@pytest.mark.parametrize(("margin", "center"), [(False, 0.0), (True, 0.1)])
def test_reward_takes_the_same_course(base, tmp_path, margin, center):
    rows = pairs(base, tmp_path)
    settings = {"margin": margin, "center": center}
    losses, parameters, order = ours(base, rows, tmp_path, method="reward", reward=settings)
    told = [
        {
            "chosen_ids": [*rows[number].ids.tolist(), *rows[number].branches[0].tolist()],
            "rejected_ids": [*rows[number].ids.tolist(), *rows[number].branches[1].tolist()],
        }
        | ({"margin": rows[number].margin} if margin else {})
        for number in order
    ]
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, tmp_path / "start", is_trainable=True)
    expected = theirs(
        trl.RewardTrainer,
        trl.RewardConfig,
        tmp_path,
        model,
        AutoTokenizer.from_pretrained(base),
        datasets.Dataset.from_list(told),
        center_rewards_coefficient=center or None,
    )
    assert_same_course(losses, expected)
    assert_same_weights(parameters, model)
