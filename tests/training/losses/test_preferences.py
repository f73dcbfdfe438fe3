"""Values and edges of the preference losses; their course over many steps is compared in ``test_against_trl``."""

import math
from dataclasses import replace

import pytest
import torch

from tests.training.runs import OBJECTIVES, make_loop, rows_for, with_reference
from tuneward.errors import TrainingError
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.batches import Window
from tuneward.training.config import TrainingConfig
from tuneward.training.losses.dpo import Dpo
from tuneward.training.losses.kto import Kto
from tuneward.training.losses.objective import Outputs
from tuneward.training.losses.orpo import log_complement
from tuneward.training.losses.reward import new_score
from tuneward.training.objectives import METHODS, PREFERENCES, check_objective, make_objective


def pieces(base, folder, name):
    """A loop away from its reference, its rows, and each answer's token log-probabilities, one sequence at a time."""
    rows = rows_for(base, folder, name, 7)
    loop, layers = make_loop(base, rows, folder, **OBJECTIVES[name])
    with_reference(loop, folder)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=torch.Generator().manual_seed(5))
    answers, last = [], []
    for row in rows:
        for branch in row.branches:
            ids = torch.tensor([*row.ids, *branch], dtype=torch.int64).unsqueeze(0)
            layout = PackedDocuments((ids.shape[1],))
            with torch.no_grad():
                out = loop.model(
                    ids, position_ids=layout.position_ids(), use_cache=False, layout=layout, output_hidden_states=True
                )
            scores = torch.log_softmax(out.logits[0, :-1].double(), -1).gather(1, ids[0, 1:, None])[:, 0]
            answers.append(scores[row.ids.size - 1 :])
            last.append(out.hidden_states[-1][0, -1])
    return loop, list(rows), answers, last


def log_sigmoid(x):
    return math.log(1 / (1 + math.exp(-x)))


def expected(name, rows, answers, last, objective):
    """The formulas of the papers, pair by pair, in plain arithmetic."""
    total = 0.0
    for number, row in enumerate(rows):
        c, x = answers[2 * number], answers[2 * number + 1]
        if name == "dpo":
            d = 0.3 * ((float(c.sum()) - row.reference[0]) - (float(x.sum()) - row.reference[1]))
            total += -0.9 * log_sigmoid(d) - 0.1 * log_sigmoid(-d) - 0.5 * float(c.mean())
        elif name == "ipo":
            r = (float(c.sum()) - row.reference[0]) / len(c) - (float(x.sum()) - row.reference[1]) / len(x)
            total += (r - 1 / 0.8) ** 2
        elif name == "simpo":
            d = 2.0 * (float(c.mean()) - float(x.mean())) - 0.5
            total += -0.9 * log_sigmoid(d) - 0.1 * log_sigmoid(-d)
        elif name == "orpo":
            p, q = math.exp(float(c.mean())), math.exp(float(x.mean()))
            total += -float(c.mean()) - 0.6 * log_sigmoid(math.log(p / (1 - p)) - math.log(q / (1 - q)))
        elif name == "kto":
            foreign = [float(answers[2 * i + 1].sum()) - other.reference[1] for i, other in enumerate(rows)]
            z0 = max(0.0, sum(foreign) / len(foreign))
            gain = 0.3 * (float(c.sum()) - row.reference[0] - z0)
            total += 1.2 * (1 - math.exp(log_sigmoid(gain))) if row.desirable else 1 - math.exp(log_sigmoid(-gain))
        else:
            score = objective.score.detach()[0]
            a, b = (float(score @ last[2 * number + i]) for i in (0, 1))
            total += -log_sigmoid(a - b - row.margin) + 0.1 * (a + b) ** 2
    return total


@pytest.mark.parametrize("name", ["dpo", "ipo", "simpo", "orpo", "kto", "reward"])
def test_equals_the_formula_of_the_paper(base, tmp_path, name):
    loop, rows, answers, last = pieces(base, tmp_path, name)
    if name == "reward":
        rows = [replace(row, margin=0.3 * number) for number, row in enumerate(rows)]
    loop.objective.survey(iter([loop.look(range(len(rows)))]), loop.group.summed)
    loss = loop.loss(Window.pack(rows, branches=loop.objective.branches))
    assert float(loss.total.detach()) == pytest.approx(expected(name, rows, answers, last, loop.objective), rel=2e-5)


def test_odds_are_exact_at_both_ends_and_finite_for_certain_answers():
    log_p = torch.tensor([-1e-6, -1e-3, -0.5, -math.log(2), -1.0, -20.0, -200.0], requires_grad=True)
    right = torch.log(-torch.expm1(log_p.detach().double())).float()
    found = log_complement(log_p)
    torch.testing.assert_close(found, right, atol=1e-12, rtol=1e-5)
    found.sum().backward()
    torch.testing.assert_close(log_p.grad, (1 / -torch.expm1(-log_p.detach().double())).float(), atol=1e-8, rtol=1e-4)
    certain = torch.zeros(1, requires_grad=True)
    value = log_complement(certain)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(certain.grad).all()


def test_the_distance_of_kto_is_never_negative_and_carries_no_gradient(base, tmp_path):
    loop, rows, *_ = pieces(base, tmp_path, "kto")
    rows = [replace(row, reference=(row.reference[0], row.reference[1] + 1e3)) for row in rows]
    window = Window.pack(rows)
    with torch.no_grad():
        outputs = loop.outputs(window)
    loop.objective.survey(iter([(outputs, window)]), loop.group.summed)
    assert loop.objective.distance == 0.0


def test_kto_passes_foreign_answers_only_through_the_survey(base, tmp_path):
    loop, *_ = pieces(base, tmp_path, "kto")
    widths = []
    whole = loop.outputs

    def outputs(window):
        widths.append((torch.is_grad_enabled(), window.answers))
        return whole(window)

    loop.outputs = outputs
    (step, *_) = loop.steps
    loop._step(step)
    count = sum(len(window) for window in step.windows)
    assert sum(n for graded, n in widths if graded) == count
    assert sum(n for graded, n in widths if not graded) == 2 * count


def test_one_verdict_alone_in_a_step_has_no_figure_of_the_other(base, tmp_path):
    loop, rows, *_ = pieces(base, tmp_path, "kto")
    good = [row for row in rows if row.desirable]
    figures = loop.loss(Window.pack(good, branches=1)).figures
    assert "reward_desirable" in figures
    assert "reward_undesirable" not in figures


def test_the_score_starts_the_same_for_the_same_seed_and_is_trained_in_fp32():
    one, two, other = new_score(64, seed=3), new_score(64, seed=3), new_score(64, seed=4)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert (one.shape, one.dtype, one.requires_grad) == ((1, 64), torch.float32, True)
    assert float(new_score(4096, seed=0).detach().std()) == pytest.approx(1 / math.sqrt(4097), rel=0.1)


def test_the_score_is_computed_in_fp32_on_states_of_bf16(base, tmp_path):
    loop, rows, *_ = pieces(base, tmp_path, "reward")
    window = Window.pack(rows)
    outputs = loop.outputs(window)
    low = Outputs(outputs.hidden.bfloat16(), outputs.head, outputs.chunk_bytes)
    found = loop.objective.scores(low, window)
    assert found.dtype == torch.float32
    states = low.hidden[window.ends].double()
    torch.testing.assert_close(found.double(), states @ loop.objective.score[0].double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "setting", "value"),
    [
        ("dpo", "gamma", 0.5),
        ("ipo", "label_smoothing", 0.1),
        ("simpo", "desirable_weight", 2.0),
        ("orpo", "gamma", 1.0),
        ("kto", "sft_weight", 1.0),
    ],
)
def test_a_setting_that_the_loss_does_not_read_is_refused(loss, setting, value):
    config = TrainingConfig(method="dpo", preference={"loss": loss, setting: value})
    with pytest.raises(TrainingError) as caught:
        check_objective(config)
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-TRAIN-013", f"training.preference.{setting}")


@pytest.mark.parametrize(
    ("method", "section", "settings"),
    [("sft", "preference", {"beta": 0.2}), ("reward", "preference", {"loss": "ipo"}), ("dpo", "reward", {"center": 1})],
)
def test_settings_of_another_method_are_refused(method, section, settings):
    with pytest.raises(TrainingError) as caught:
        check_objective(TrainingConfig(method=method, **{section: settings}))
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-TRAIN-013", f"training.{section}")


def test_every_loss_and_method_of_the_settings_has_an_objective():
    preference = TrainingConfig.model_fields["preference"].annotation
    assert set(PREFERENCES) == set(preference.model_fields["loss"].annotation.__args__)
    assert set(METHODS) == set(TrainingConfig.model_fields["method"].annotation.__args__)
    for loss in PREFERENCES:
        config = TrainingConfig(method="dpo", preference={"loss": loss})
        check_objective(TrainingConfig(**config.canonical()))  # as it is frozen into a run
        make_objective(config, hidden=8)
    for method in METHODS:
        check_objective(TrainingConfig(**TrainingConfig(method=method).canonical()))


def test_settings_left_out_are_the_losses_own():
    assert make_objective(TrainingConfig(method="dpo"), hidden=8) == Dpo()
    kto = make_objective(TrainingConfig(method="dpo", preference={"loss": "kto", "beta": 0.2}), hidden=8)
    assert isinstance(kto, Kto)
    assert (kto.beta, kto.desirable_weight) == (0.2, 1.0)
