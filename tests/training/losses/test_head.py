import pytest
import torch
from torch.nn import functional

from tuneward.modeling.base_model import OutputHead
from tuneward.training.losses.head import chunk_rows, token_log_probs

ROWS, HIDDEN, VOCABULARY = 37, 24, 101


def cross_entropy_sum(hidden, targets, head, *, chunk_bytes):
    return -token_log_probs(hidden, targets, head, chunk_bytes=chunk_bytes).sum()


def plain(hidden, targets, head):
    return functional.cross_entropy(head.logits(hidden), targets, reduction="sum")


@pytest.mark.parametrize("rows_at_once", [1, 5, 37, 1000])
@pytest.mark.parametrize(
    ("bias", "multiplier", "softcap"),
    [(False, 1.0, None), (True, 1.0, None), (False, 0.25, None), (False, 1.0, 3.0), (True, 0.5, 2.0)],
)
def test_equals_the_plain_head_with_gradients(rows_at_once, bias, multiplier, softcap):
    torch.manual_seed(0)
    weight, offset = torch.randn(VOCABULARY, HIDDEN), torch.randn(VOCABULARY)
    head = OutputHead(weight, offset if bias else None, multiplier, softcap)
    targets = torch.randint(0, VOCABULARY, (ROWS,))
    ours = torch.randn(ROWS, HIDDEN, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    chunk_bytes = rows_at_once * VOCABULARY * 12
    assert chunk_rows(head, torch.float32, chunk_bytes) == rows_at_once
    loss, expected = cross_entropy_sum(ours, targets, head, chunk_bytes=chunk_bytes), plain(theirs, targets, head)
    torch.testing.assert_close(loss, expected, atol=0, rtol=1e-6)
    (loss / 7).backward()
    (expected / 7).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)


def test_no_rows_give_zero():
    head = OutputHead(torch.randn(VOCABULARY, HIDDEN), None, 1.0, None)
    hidden = torch.randn(0, HIDDEN, requires_grad=True)
    loss = cross_entropy_sum(hidden, torch.empty(0, dtype=torch.int64), head, chunk_bytes=1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert hidden.grad.shape == (0, HIDDEN)


def test_bf16_loss_is_summed_in_fp32():
    torch.manual_seed(0)
    weight = torch.randn(VOCABULARY, HIDDEN)
    head = OutputHead(weight.bfloat16(), None, 1.0, None)
    hidden, targets = torch.randn(4000, HIDDEN), torch.randint(0, VOCABULARY, (4000,))
    loss = cross_entropy_sum(hidden.bfloat16(), targets, head, chunk_bytes=1000)
    exact = functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=2e-3)


def test_the_incoming_gradient_is_not_rounded_to_bf16():
    torch.manual_seed(0)
    head = OutputHead(torch.randn(VOCABULARY, HIDDEN).bfloat16(), None, 1.0, None)
    hidden, targets = torch.randn(ROWS, HIDDEN).bfloat16().requires_grad_(), torch.randint(0, VOCABULARY, (ROWS,))
    whole, part = (
        torch.autograd.grad(cross_entropy_sum(hidden, targets, head, chunk_bytes=1000) * factor, hidden)[0]
        for factor in (1.0, 1 / 3)
    )
    torch.testing.assert_close(part, (whole.float() / 3).bfloat16(), atol=0, rtol=0)


def test_a_chunk_has_at_least_one_row():
    head = OutputHead(torch.randn(VOCABULARY, HIDDEN), None, 1.0, None)
    assert chunk_rows(head, torch.bfloat16, 1) == 1


@pytest.mark.parametrize("rows_at_once", [5, 1000])
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_each_row_counts_as_the_loss_above_says_trained_head_included(rows_at_once, softcap):
    torch.manual_seed(0)
    targets, counts = torch.randint(0, VOCABULARY, (ROWS,)), torch.randn(ROWS)

    def gradients(make):
        torch.manual_seed(1)
        leaves = [torch.randn(*shape, requires_grad=True) for shape in ((ROWS, HIDDEN), (VOCABULARY, HIDDEN))]
        bias = torch.randn(VOCABULARY, requires_grad=True)
        head = OutputHead(leaves[1], bias, 1.0, softcap)
        values = make(leaves[0], head)
        (values * counts).sum().backward()
        return values.detach(), *(leaf.grad for leaf in (*leaves, bias))

    ours = gradients(lambda h, head: token_log_probs(h, targets, head, chunk_bytes=rows_at_once * VOCABULARY * 12))
    theirs = gradients(lambda h, head: torch.log_softmax(head.logits(h), -1).gather(1, targets[:, None])[:, 0])
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=2e-5, rtol=1e-5)


def test_without_gradient_nothing_is_kept():
    head = OutputHead(torch.randn(VOCABULARY, HIDDEN, requires_grad=True), None, 1.0, None)
    with torch.no_grad():
        found = token_log_probs(torch.randn(3, HIDDEN), torch.tensor([1, 2, 3]), head, chunk_bytes=1000)
    assert not found.requires_grad
