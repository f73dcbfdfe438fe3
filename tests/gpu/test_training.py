"""What training computes on a CUDA device: the loss head, whole steps, and memory that is not kept."""

import pytest
import torch
from torch.nn import functional

from tests.modeling.test_lora import distance
from tests.tiny import make_tiny_base
from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.modeling.base_model import OutputHead
from tuneward.training.losses.head import token_log_probs
from tuneward.training.reference import add_reference
from tuneward.training.sharding import states_of

ROWS, HIDDEN, VOCABULARY = 300, 64, 5003
SETTINGS = {"batch_tokens": 200, "window_tokens": 90, "epochs": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(("multiplier", "softcap"), [(1.0, None), (0.25, None), (1.0, 3.0)])
@pytest.mark.parametrize("trained", [False, True])
def test_the_chunked_head_equals_the_plain_head_with_gradients(multiplier, softcap, trained, device):
    torch.manual_seed(0)
    weight = torch.randn(VOCABULARY, HIDDEN, device=device) / 8
    targets = torch.randint(0, VOCABULARY, (ROWS,), device=device)
    states = torch.randn(ROWS, HIDDEN, device=device)
    scale = torch.randn(ROWS, device=device)  # each row counts differently

    def run(compute):
        hidden, own = states.clone().requires_grad_(), weight.clone().requires_grad_(trained)
        values = compute(hidden, OutputHead(own, None, multiplier, softcap))
        (values * scale).sum().backward()
        return values, hidden.grad, own.grad

    def plain(hidden, head):
        return -functional.cross_entropy(head.logits(hidden), targets, reduction="none")

    def chunked(hidden, head):
        return token_log_probs(hidden, targets, head, chunk_bytes=70 * VOCABULARY * 12)

    for mine, expected in zip(run(chunked), run(plain), strict=True):
        if expected is not None:
            assert distance(mine, expected) < 2e-6


def moved(loop, device):
    """The same loop on a device: what ``load_base(device=…)`` and ``add_lora`` would have made there."""
    loop.model.to(device)
    loop.device = device
    loop.states = states_of(loop.model)
    return loop


def course(base, rows, folder, device, **settings):
    loop, layers = make_loop(base, rows, folder, **SETTINGS | settings)
    moved(loop, device)
    if loop.objective.needs_reference:
        add_reference(
            rows,
            loop.look,
            folder=folder / "reference",
            made_from=(device,),
            window_tokens=90,
            stop=lambda: False,
            told=lambda done: None,
        )
    loop.trainable.begin()
    losses = []
    for step in loop.steps:
        losses.append(loop._step(step).loss)
        loop.done += 1
    return losses, [layers[path].b.detach().cpu() for path in sorted(layers)]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_run_takes_the_course_that_it_takes_on_the_processor(base, tmp_path, method, device):
    file = write_rows(tmp_path / "rows.jsonl", 12, kind="pair" if method == "dpo" else "sft")
    form = "pair" if method == "dpo" else "conversation"
    results = {}
    for place in ("cpu", device):
        rows = rows_of(base, file, form=form)
        results[place] = course(base, rows, tmp_path / place, place, method=method)
    (losses, weights), (expected, expected_weights) = results[device], results["cpu"]
    near = 1e-4
    assert losses == pytest.approx(expected, rel=near)
    residuals = [a - b for a, b in zip(losses, expected, strict=True)]
    assert abs(sum(residuals)) / len(residuals) < near  # no drift to one side
    for mine, theirs in zip(weights, expected_weights, strict=True):
        assert distance(mine, theirs) < 1e-2


def test_the_chunked_head_never_holds_all_logits(device):
    rows, vocabulary = 4096, 32000
    weight = torch.randn(vocabulary, HIDDEN, device=device, dtype=torch.bfloat16)
    hidden = torch.randn(rows, HIDDEN, device=device, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(0, vocabulary, (rows,), device=device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    chunk_bytes = 64 * 2**20
    token_log_probs(hidden, targets, OutputHead(weight, None, 1.0, None), chunk_bytes=chunk_bytes).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 2.5 * chunk_bytes < rows * vocabulary * 2
