"""The bare matrix products of a training step as a contender: what is left when everything avoidable is gone."""

import time
from typing import Any

from benchmarks.courses import RANK, Course
from benchmarks.ours import plan_windows
from benchmarks.turns import Seat

HEAD_ROWS = 128  # learned tokens that the output head takes at a time


def products(seat: Seat, *, course: Course, window_tokens: int) -> None:
    """The matrix products that no implementation of the step can avoid, alone, in the shapes of our windows.

    Counted are, of every frozen linear layer, the forward product and the one for its input's gradient, and of the
    output head the same two where a token is learned; for DPO the reference's forward products as well. Not counted,
    though they cannot be avoided either: the adapter's narrow products and attention's. A turn also reports its seconds
    with these (``wide_seconds``).
    """
    import torch
    from torch.nn.functional import linear

    from tuneward.modeling.base_model import load_base
    from tuneward.modeling.config import AdapterConfig
    from tuneward.modeling.targets import find_targets
    from tuneward.training.allocator import keep_freed_memory
    from tuneward.training.batches import Window, learned_tokens
    from tuneward.training.rows import Rows

    keep_freed_memory()
    torch.set_num_threads(course.threads)
    rows = Rows(course.rows)
    model = load_base(course.base, precision="bf16")
    weights = [layer.weight for _, layer in find_targets(model, AdapterConfig())]
    head: Any = model.get_output_embeddings().weight
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    groups, layers = config.num_attention_heads, config.num_hidden_layers

    def frozen(window: Window, inputs: Any) -> None:
        learned = inputs[head.shape[1]].repeat(2, 1)[: window.places.shape[0]].split(HEAD_ROWS)
        if course.method == "dpo":
            for weight in weights:
                linear(inputs[weight.shape[1]], weight)
            for part in learned:
                linear(part, head)
        for weight in weights:
            linear(inputs[weight.shape[1]], weight)
            torch.mm(inputs[weight.shape[0]], weight)
        for part in learned:
            torch.mm(linear(part, head), head)

    def narrow(inputs: Any) -> None:
        for weight in weights:
            x, g = inputs[weight.shape[1]], inputs[weight.shape[0]]
            a, b = factors[weight.shape[1]], factors[weight.shape[0]]
            low = linear(x, a)
            torch.mm(low, b)
            back = torch.mm(g, b.t())
            torch.mm(back, a)
            torch.mm(g.t(), low)
            torch.mm(back.t(), x)

    def attention(window: Window) -> None:
        for length in window.layout.lengths:
            query = torch.randn(groups, length, head_dim, dtype=torch.bfloat16)
            scores = torch.rand(groups, length, length, dtype=torch.bfloat16)
            for _ in range(layers):
                for _ in range(2):
                    torch.bmm(query, query.transpose(1, 2))  # scores; gradient of the weights
                for _ in range(4):
                    torch.bmm(scores, query)  # output; gradients of value, query and key

    widths = {size for weight in weights for size in weight.shape} | {head.shape[1]}
    factors = {size: torch.randn(RANK, size, dtype=torch.bfloat16) for size in widths}
    steps = plan_windows(rows, course.steps, window_tokens=window_tokens, weigh=learned_tokens)
    seat.ready()
    done = 0
    with torch.no_grad():
        while seat.wait():
            alone = wide = 0.0
            for numbers in steps[done].windows:
                window = Window.pack([rows[i] for i in numbers])
                tokens = window.ids.shape[1]
                inputs = {size: torch.randn(tokens, size, dtype=torch.bfloat16) for size in widths}
                started = time.perf_counter()
                frozen(window, inputs)
                middle = time.perf_counter()
                narrow(inputs)
                attention(window)
                alone += middle - started
                wide += time.perf_counter() - started
            done += 1
            seat.done(alone_seconds=alone, wide_seconds=wide)
