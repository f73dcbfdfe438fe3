"""Norms, gated units and the loss head's softmax against fp64, on sizes that fill no register."""

import pytest
import torch

from tests.modeling.kernel_cases import STEP, needs_kernels
from tuneward.modeling.kernels.pointwise import (
    gated_backward,
    gated_forward,
    head_scores,
    norm_backward,
    norm_forward,
    rotate,
)

pytestmark = needs_kernels

ACTIVATIONS = {
    "silu": torch.nn.functional.silu,
    # torch's own adds 1 to a tanh, which leaves little of the left tail even in fp64
    "gelu": lambda x: x * torch.sigmoid(8**0.5 / torch.pi**0.5 * (x + 0.044715 * x**3)),
}


def draw(*shape, scale=1.0):
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))).bfloat16()


def assert_rounded(found, exact, *, roundings=1, largest=None):
    """Off by ``roundings`` roundings to bf16 at most, of each value or of ``largest``."""
    bound = exact.abs() if largest is None else torch.as_tensor(largest)
    assert ((found.double() - exact).abs() <= roundings * STEP / 2 * bound * 1.01 + 1e-30).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 4096), (2, 5000)])
def test_gated_units(activation, shape):
    gate, up, gradient = draw(*shape, scale=4), draw(*shape).flip(0), draw(*shape).flip(1)
    wide = [t.double().requires_grad_() for t in (gate, up)]
    exact = ACTIVATIONS[activation](wide[0]) * wide[1]
    exact.backward(gradient.double())
    assert_rounded(gated_forward(gate, up, activation), exact.detach(), roundings=1.1)
    product = torch.empty_like(gate)
    d_gate, d_up = gated_backward(gradient, gate, up, activation, product=product)
    assert torch.equal(product, gated_forward(gate, up, activation))
    assert_rounded(d_up, wide[1].grad, roundings=1.1)
    # where the slope passes zero its own error counts, which is of fp32
    assert ((d_gate.double() - wide[0].grad).abs() <= STEP / 2 * 1.1 * wide[0].grad.abs() + 1e-5).all()
    over = gradient.clone()
    again = gated_backward(over, gate, up, activation, product=over)
    assert torch.equal(over, product)
    assert all(torch.equal(a, b) for a, b in zip(again, (d_gate, d_up), strict=True))
    alone = gated_backward(gradient, gate, up, activation)
    assert all(torch.equal(a, b) for a, b in zip(alone, (d_gate, d_up), strict=True))


def test_gates_far_from_zero_stay_finite():
    gate = torch.tensor([[-3e38, -500.0, -90.0, 90.0, 500.0, 3e38]]).bfloat16()
    ones = torch.ones_like(gate)
    for activation, function in ACTIVATIONS.items():
        assert_rounded(gated_forward(gate, ones, activation), function(gate.double()))
        d_gate, _ = gated_backward(ones, gate, ones, activation)
        assert torch.equal(d_gate, (gate > 0).to(gate))


def test_what_is_no_number_stays_seen():
    gate = torch.tensor([[1.0, float("nan")]]).bfloat16()
    assert gated_forward(gate, torch.ones_like(gate), "silu").isnan().tolist() == [[False, True]]
    x = torch.tensor([[1.0, float("nan")], [1.0, 2.0]]).bfloat16()
    y, _ = norm_forward(x, torch.ones(2).bfloat16(), 1e-6)
    assert y.isnan().all(1).tolist() == [True, False]
    assert head_scores(x, torch.tensor([0, 0]), turn=False).isnan().tolist() == [True, False]


@pytest.mark.parametrize("exact_factor", [True, False])
@pytest.mark.parametrize("shape", [(1, 2), (3, 7), (2, 3, 48), (5, 576)])
def test_norms(exact_factor, shape):
    x, gradient = draw(*shape, scale=3), draw(*shape).flip(0)
    factor = (torch.rand(shape[-1], generator=torch.Generator().manual_seed(0)) + 0.5).to(
        torch.float32 if exact_factor else torch.bfloat16
    )
    wide = x.double().requires_grad_()
    exact = wide * (wide.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * factor.double()
    exact.backward(gradient.double())
    y, inverse = norm_forward(x, factor, 1e-5)
    assert_rounded(y, exact.detach(), roundings=1.1 if exact_factor else 2.2)
    assert inverse.shape == (x.numel() // x.shape[-1],)
    d_x = norm_backward(gradient, x, factor, inverse)
    assert_rounded(d_x, wide.grad, roundings=1.1, largest=wide.grad.abs().max())


@pytest.mark.parametrize("width", [2, 16, 40, 64])
def test_rotation_and_its_transpose(width):
    x, g = draw(7, 3, width).transpose(0, 1), draw(3, 7, width)
    cos, sin = draw(2, 7, width)
    half = width // 2
    wide = x.double().requires_grad_()
    turned = torch.cat([-wide[..., half:], wide[..., :half]], -1)
    exact = wide * cos.double() + turned * sin.double()
    exact.backward(g.double())
    scale = 2 * x.abs().max().double() * torch.stack([cos, sin]).abs().max()
    assert_rounded(rotate(x, cos, sin, back=False), exact.detach(), largest=scale)
    assert_rounded(rotate(g, cos, sin, back=True), wide.grad, largest=2 * scale)


@pytest.mark.parametrize(("rows", "vocabulary"), [(1, 3), (5, 1000), (3, 4099)])
def test_head_scores(rows, vocabulary):
    logits = draw(rows, vocabulary, scale=5)
    goal = torch.arange(rows) * 7 % vocabulary
    wide = logits.double().requires_grad_()
    exact = wide.log_softmax(-1)[torch.arange(rows), goal]
    exact.sum().backward()
    spent = logits.clone()
    found = head_scores(spent, goal, turn=True)
    torch.testing.assert_close(found.double(), exact.detach(), atol=2e-6, rtol=2e-6)
    assert_rounded(spent, wide.grad, roundings=1.1)
    kept = logits.clone()
    assert torch.equal(head_scores(kept, goal, turn=False), found)
    assert torch.equal(kept, logits)


@pytest.mark.parametrize("goal", [-1, 7])
def test_a_goal_outside_the_vocabulary_is_refused(goal):
    with pytest.raises(IndexError, match="goals outside a vocabulary of 7: 1"):
        head_scores(draw(2, 7), torch.tensor([3, goal]), turn=True)


def test_threads_change_no_bit():
    x, factor = draw(33, 200), torch.ones(200).bfloat16()
    logits, goal = draw(9, 513), torch.arange(9)
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        spent = logits.clone()
        results.append(
            [gated_forward(x, x, "gelu"), *norm_forward(x, factor, 1e-6), head_scores(spent, goal, turn=True), spent]
        )
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_sizes_that_do_not_belong_together_are_refused():
    """A kernel would read beyond the end of what is shorter."""
    x, longer = draw(3, 8), draw(4, 8)
    with pytest.raises(ValueError, match="one shape"):
        gated_forward(longer, x, "silu")
    with pytest.raises(ValueError, match="one shape"):
        gated_backward(x, longer, longer, "silu")
    for factor in (torch.ones(4).bfloat16(), torch.ones(16)[::2]):
        with pytest.raises(ValueError, match="one factor"):
            norm_forward(x, factor, 1e-6)
    for angles in (draw(2, 8), draw(3, 4)):
        with pytest.raises(ValueError, match="an angle for each"):
            rotate(draw(2, 3, 8), angles, angles, back=False)
    for goal in (torch.zeros(2, dtype=torch.int64), torch.zeros(3, dtype=torch.int32)):
        with pytest.raises(ValueError, match="one goal a row"):
            head_scores(x, goal, turn=False)
    apart = torch.tensor([1, 99, 2, 99, 3, 99])[::2]
    assert torch.equal(head_scores(x, apart, turn=False), head_scores(x, apart.clone(), turn=False))
