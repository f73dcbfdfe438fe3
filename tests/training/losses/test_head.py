import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tuneward.modeling.base_model import OutputHead
from tuneward.modeling.quantisation import Nf4Matrix
from tuneward.training.losses.head import chunk_rows, token_log_probs, whole_bytes

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


@pytest.mark.parametrize(("multiplier", "softcap", "bias"), [(1.0, None, False), (0.25, None, True), (2.0, 5.0, True)])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.02])
def test_a_head_in_four_bits_is_its_dequantised_weight(share, multiplier, softcap, bias):
    """Made whole where the memory of a chunk holds it, and in slices of the vocabulary where it does not."""
    torch.manual_seed(3)
    vocabulary, hidden = 1000, 128
    kept, offset = Nf4Matrix(torch.randn(vocabulary, hidden)), torch.randn(vocabulary) if bias else None
    room = int(share * vocabulary * hidden * 4)
    assert bool(whole_bytes(kept, room)) == (share == 1.0)
    targets = torch.tensor([0, 999, 5, 500, 501, 333, 7, 998])
    weights = torch.randn(8)

    def run(weight, chunk_bytes):
        x = torch.randn(8, hidden, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        head = OutputHead(weight, offset, multiplier, softcap)
        found = token_log_probs(x, targets, head, chunk_bytes=chunk_bytes)
        (found * weights).sum().backward()
        with torch.no_grad():
            assert torch.equal(token_log_probs(x, targets, head, chunk_bytes=chunk_bytes), found)
        return found.detach(), x.grad

    for mine, plain in zip(run(kept, room), run(kept.dequantise(), room), strict=True):
        assert float((mine - plain).norm() / plain.norm()) < 1e-6


def test_slices_hold_no_more_than_they_may():
    """Neither the whole weight nor all logits are ever there."""
    kept, room = Nf4Matrix(torch.randn(4096, 128)), 256 << 10
    hidden = torch.randn(64, 128, requires_grad=True)
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            seen.extend(t.untyped_storage().nbytes() for t in (made,) if isinstance(t, torch.Tensor))
            return made

    with Watch():
        token_log_probs(hidden, torch.arange(64), OutputHead(kept, None, 1.0, None), chunk_bytes=room)
    held = kept.packed.numel()
    assert max(size for size in seen if size != held) <= room
    assert held < 4096 * 128


def test_in_bf16_a_head_made_whole_gives_the_very_bits_of_the_plain_one():
    torch.manual_seed(4)
    kept = Nf4Matrix(torch.randn(500, 64).bfloat16())
    targets, found = torch.arange(0, 500, 25), []
    for weight in (kept, kept.dequantise()):
        hidden = torch.randn(20, 64, generator=torch.Generator().manual_seed(1)).bfloat16().requires_grad_(True)
        values = token_log_probs(hidden, targets, OutputHead(weight, None, 1.0, None), chunk_bytes=100_000)
        values.sum().backward()
        found.append((values.detach(), hidden.grad))
    assert all(torch.equal(mine, plain) for mine, plain in zip(*found, strict=True))


@pytest.mark.parametrize("goal", [-1, 500])
def test_a_goal_outside_the_vocabulary_is_refused(goal):
    head = OutputHead(Nf4Matrix(torch.randn(500, 64)), None, 1.0, None)
    with pytest.raises(IndexError, match="goals outside a vocabulary of 500: 1"):
        token_log_probs(torch.randn(2, 64), torch.tensor([3, goal]), head, chunk_bytes=1000)


def test_products_of_the_head_have_few_shapes(monkeypatch):
    """A CPU's product library keeps code for every number of rows that it meets."""
    seen, whole = set(), torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, *rest: seen.add(x.shape[0]) or whole(x, *rest))
    weight = torch.randn(50, 8)
    plain = OutputHead(weight, None, 1.0, None)
    for rows in range(1, 100):
        hidden, targets = torch.randn(rows, 8, requires_grad=True), torch.arange(rows) % 50
        found = token_log_probs(hidden, targets, plain, chunk_bytes=1 << 20)
        wanted = whole(hidden, weight).log_softmax(-1)[torch.arange(rows), targets]
        torch.testing.assert_close(found, wanted)
        ours, theirs = (torch.autograd.grad(x.sum(), hidden)[0] for x in (found, wanted))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert seen == {32, 64, 96, 128}
