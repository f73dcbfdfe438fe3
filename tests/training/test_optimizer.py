import pytest
import torch
from torch import nn

from tuneward.training.config import TrainingConfig
from tuneward.training.optimizer import LAST_SHARE, clip_gradients, learning_rate, make_optimizer


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


def test_constant_stays():
    assert rates(10, schedule="constant", warmup_fraction=0.2)[2:] == [1.0] * 8


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_reach_the_full_rate(steps):
    assert max(rates(steps, warmup_fraction=1.0)) == 1.0


def test_equals_torchs_adamw_with_decay_on_matrices_only():
    torch.manual_seed(0)
    matrix, vector = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))
    twin_matrix, twin_vector = (nn.Parameter(p.detach().clone()) for p in (matrix, vector))
    ours = make_optimizer([matrix, vector], TrainingConfig(learning_rate=0.1, weight_decay=0.5))
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
