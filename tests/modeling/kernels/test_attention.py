"""The compiled attention against sums in fp64, where each token's context is looked up one by one."""

import math

import pytest
import torch

from tests.modeling.kernel_cases import distance, needs_kernels
from tuneward.modeling.attention import Scoring
from tuneward.modeling.kernels.attention import Places, attend, can_attend
from tuneward.modeling.packed import PackedDocuments

pytestmark = needs_kernels

#: Relative length of an error that rounding weights and results to bf16 explains; ``packed``'s blocks come to 0.005.
ROUNDING = 0.0045

#: (lengths, after, heads, kv_heads, width, window): shorter and longer than blocks, tiles and panels, and one token.
CASES = {
    "several": ((5, 17, 33), (), 2, 1, 16, None),
    "of one token": ((1, 1, 130), (), 2, 2, 32, None),
    "grouped heads": ((1, 100, 49, 300), (), 9, 3, 64, None),
    "one long": ((600,), (), 4, 4, 64, None),
    "widest heads": ((3, 70), (), 2, 1, 256, None),
    "odd width": ((50, 50, 51), (None, 0, 0), 6, 2, 48, None),
    "shared prompt": ((40, 30, 20, 7), (None, 0, 0, None), 4, 2, 32, None),
    "shared twice": ((60, 30, 20, 7, 9), (None, 0, 1, 1, 0), 4, 2, 32, None),
    "window": ((70, 300, 10), (), 4, 2, 64, 50),
    "window of one token": ((70, 30), (), 2, 2, 16, 1),
    "window over a shared prompt": ((700, 13, 140), (None, 0, 0), 2, 2, 128, 300),
}


def sees(layout, window):
    """(tokens, tokens): whether the row's token sees the column's."""
    seen = torch.zeros(sum(layout.lengths), sum(layout.lengths), dtype=torch.bool)
    for context, (first, end) in zip(layout.contexts, layout.spans, strict=True):
        places = [token for a, b in context for token in range(a, b)]
        for row in range(first, end):
            own = places.index(row) + 1
            seen[row, places[0 if window is None else max(0, own - window) : own]] = True
    return seen


def exact(query, key, value, layout, window, gradient):
    """Result and gradients of query, key and value in fp64."""
    states = [t.detach().double().requires_grad_() for t in (query, key, value)]
    group = query.shape[0] // key.shape[0]
    wide = [states[0], *(t.repeat_interleave(group, 0) for t in states[1:])]
    scores = (wide[0] @ wide[1].transpose(1, 2)) * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~sees(layout, window), -math.inf).softmax(-1)
    result = (weights @ wide[2]).transpose(0, 1)
    result.backward(gradient.double())
    return [result.detach(), *(t.grad for t in states)]


def make(heads, tokens, width, draw):
    """(heads, tokens, width) in bf16, lying as a projection leaves it."""
    states = torch.randn(tokens, heads, width, generator=draw).bfloat16().transpose(0, 1)
    return states.detach().requires_grad_()


def run(states, layout, window, gradient):
    for t in states:
        t.grad = None
    result = layout.attend(0, *(t.unsqueeze(0) for t in states), Scoring(states[0].shape[-1] ** -0.5, window, None))[0]
    result.backward(gradient)
    return [result.detach(), *(t.grad.clone() for t in states)]


@pytest.fixture(params=CASES)
def case(request):
    lengths, after, heads, kv_heads, width, window = CASES[request.param]
    draw = torch.Generator().manual_seed(0)
    layout, tokens = PackedDocuments(lengths, after), sum(lengths)
    states = [make(count, tokens, width, draw) for count in (heads, kv_heads, kv_heads)]
    return states, layout, window, torch.randn(tokens, heads, width, generator=draw).bfloat16()


def test_result_and_gradients_are_exact_up_to_rounding(case):
    states, layout, window, gradient = case
    assert can_attend(*states)
    for found, wanted in zip(run(*case), exact(*states, layout, window, gradient), strict=True):
        floor = 0.01 * wanted.numel() ** 0.5  # of a token that sees itself alone, some gradients are zero
        assert (found.double() - wanted).norm() < ROUNDING * max(wanted.norm(), floor)


def test_threads_change_no_bit(case):
    before = torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(run(*case))
    torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        assert torch.equal(one, three)


def test_strides_change_no_bit(case):
    states, layout, window, gradient = case
    dense = [t.detach().contiguous().requires_grad_() for t in states]  # (heads, tokens, width) as it lies
    for one, other in zip(run(*case), run(dense, layout, window, gradient), strict=True):
        assert torch.equal(one, other)


def test_no_document_feels_another():
    draw = torch.Generator().manual_seed(1)
    layout = PackedDocuments((40, 50, 60))
    states = [make(2, 150, 16, draw) for _ in range(3)]
    gradient = torch.randn(150, 2, 16, generator=draw).bfloat16()
    before = run(states, layout, None, gradient)
    with torch.no_grad():
        for t in states:
            t[:, 40:90] = math.nan
    after = run(states, layout, None, gradient)
    spans = (slice(0, 40), slice(90, 150))
    assert after[0][40:90].isnan().all()
    for span in spans:
        assert torch.equal(before[0][span], after[0][span])
        for one, two in zip(before[1:], after[1:], strict=True):
            assert torch.equal(one[:, span], two[:, span])


def test_large_scores_neither_overflow_nor_vanish():
    states = [make(1, 40, 16, torch.Generator().manual_seed(2)) for _ in range(3)]
    with torch.no_grad():
        states[0] *= 300
    layout, gradient = PackedDocuments((40,)), torch.ones(40, 1, 16, dtype=torch.bfloat16)
    found, wanted = run(states, layout, None, gradient), exact(*states, layout, None, gradient)
    assert distance(found[0], wanted[0]) < ROUNDING
    assert all(t.isfinite().all() for t in found)


def test_other_types_and_widths_are_left_to_other_ways():
    fine = torch.ones(2, 3, 16, dtype=torch.bfloat16)
    assert not can_attend(fine.float(), fine.float(), fine.float())
    assert not can_attend(*[torch.ones(2, 3, 24, dtype=torch.bfloat16)] * 3)
    assert not can_attend(*[torch.ones(2, 3, 272, dtype=torch.bfloat16)] * 3)
    assert not can_attend(fine, fine, torch.ones(2, 3, 32, dtype=torch.bfloat16))
    odd = torch.ones(2, 3, 17, dtype=torch.bfloat16)[..., :16]  # a token's words would lie across two of memory's
    assert not can_attend(odd, odd, odd)


def test_heads_and_tokens_that_do_not_belong_together_are_refused():
    places, draw = Places([(0, 8)], [[(0, 8)]], shared=False), torch.Generator().manual_seed(3)
    query, key = make(3, 8, 16, draw), make(1, 8, 16, draw)
    assert attend(query, key, key, places, scaling=1.0, window=None).shape == (8, 3, 16)
    for other in (make(1, 4, 16, draw), make(2, 8, 16, draw)):
        with pytest.raises(ValueError, match="are not of 8 tokens"):
            attend(query, other, other, places, scaling=1.0, window=None)


def test_a_second_derivative_is_refused_and_not_wrong():
    states = [make(2, 8, 16, torch.Generator().manual_seed(4)) for _ in range(3)]
    result = PackedDocuments((8,)).attend(0, *(t.unsqueeze(0) for t in states), Scoring(0.25, None, None))
    (slope,) = torch.autograd.grad(result.float().square().sum(), states[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.float().square().sum().backward()


def test_states_of_other_tokens_than_the_places_are_refused():
    layout = PackedDocuments((5,))
    states = [torch.ones(2, 6, 16, dtype=torch.bfloat16)] * 3
    with pytest.raises(ValueError, match="are not of 5 tokens"):
        attend(*states, layout._places, scaling=1.0, window=None)
