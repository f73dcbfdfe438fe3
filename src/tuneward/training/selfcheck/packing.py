"""Checks of windows: packed, accumulated and measured rows give what each row gives alone.

Place on the road: the part of the self-check about attention and batches.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tuneward.modeling import attention
from tuneward.modeling.attention import Scoring
from tuneward.modeling.base_model import hidden_states
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.batches import ROUND_TOKENS, Window, fill_windows
from tuneward.training.curve import Curve
from tuneward.training.selfcheck.statement import (
    GRADIENTS,
    VALUES,
    Measured,
    NotApplicableError,
    Statement,
    distance,
    probe,
    worst,
)
from tuneward.training.selfcheck.subject import Adapted, Subject
from tuneward.training.validation import measure


def accumulated(subject: Subject) -> Measured:
    """One step in several windows, the last one partial, and in one window: loss and gradients."""
    rows = subject.rows("conversation")
    sizes = sorted(rows.sizes.tolist())
    results, windows = [], []
    for window_tokens in (sum(sizes), sizes[-1]):
        loop = subject.loop(
            subject.fresh(), rows, batch_rows=len(rows), window_tokens=window_tokens, clip_norm=1e9, learning_rate=1e-6
        )
        folder = subject.new_folder()
        curves: list[Curve] = []

        def open_curve(upto: int, curves: list[Curve] = curves, folder=folder) -> Curve:  # type: ignore[no-untyped-def]
            curves.append(Curve(folder / "curve.jsonl", upto=upto))
            return curves[0]

        loop.run(open_curve)
        (step,) = loop.steps
        windows.append(len(step.windows))
        gradients = {name: p.grad for name, p in loop.parameters.items() if p.grad is not None}
        results.append((torch.tensor(curves[0].points[0].loss), gradients))
    if windows[1] < 2:
        raise NotApplicableError("the rows fit into one window only")
    (loss, gradients), (one_loss, one) = results[1], results[0]
    parts = (distance(loss, one_loss), VALUES, "losses"), (distance(gradients, one), GRADIENTS, "gradients")
    return worst(*parts, on=subject.cut.told)


def packed(subject: Subject) -> Measured:
    """Hidden states and gradients of rows in one window and each alone."""
    adapted, rows = subject.whole, subject.short_rows()
    windows = [Window.pack([row]) for row in rows]
    together = _states(adapted, Window.pack(rows, round_to=ROUND_TOKENS))[: sum(row.size for row in rows)]
    alone = torch.cat([_states(adapted, window) for window in windows])
    states = distance(together.detach(), alone.detach())
    gradients = distance(adapted.gradients(probe(together)), adapted.gradients(probe(alone)))
    return worst((states, VALUES, "hidden states"), (gradients, GRADIENTS, "gradients"), on=adapted.on)


def apart(subject: Subject) -> Measured:
    """Other tokens in one document, and in one of two answers to a prompt: all else keeps its bits."""
    return Measured(
        _reached(subject, fused=False), subject.few.on, unit="numbers", detail="a document was seen by others"
    )


def apart_fused(subject: Subject) -> Measured:
    """The same on the path that CUDA takes."""
    _require_fused(subject)
    return Measured(
        _reached(subject, fused=True), subject.few.on, unit="numbers", detail="a document was seen by others"
    )


def fused_path(subject: Subject) -> Measured:
    """Hidden states and gradients with PyTorch's fused attention and with ours, block by block."""
    _require_fused(subject)
    adapted = subject.few
    window = Window.pack([*subject.rows("conversation")[:3], *subject.rows("pair")[:1]])
    one, two = (_states(adapted, window, fused=fused) for fused in (True, False))
    states = distance(one.detach(), two.detach())
    gradients = distance(adapted.gradients(probe(one)), adapted.gradients(probe(two)))
    return worst((states, VALUES, "hidden states"), (gradients, GRADIENTS, "gradients"), on=adapted.on)


def as_transformers(subject: Subject) -> Measured:
    """Logits of a row through our attention and through transformers' own, without an adapter's help."""
    adapted = subject.few
    model, found = adapted.model, 0.0
    for row in subject.rows("conversation")[:2]:
        ids = torch.from_numpy(row.ids.astype("int64")).unsqueeze(0)
        with torch.no_grad():
            ours = adapted.head.logits(hidden_states(model, ids, PackedDocuments((ids.shape[1],)))[0])
            model.set_attn_implementation("eager")
            try:
                theirs = model(input_ids=ids, use_cache=False).logits[0]
            finally:
                model.set_attn_implementation(attention.NAME)
        found = max(found, distance(ours, theirs))
    return Measured(found, adapted.on, VALUES)


def evaluation(subject: Subject) -> Measured:
    """The evaluation loss of the rows when they pass one by one, a few together, and all together."""
    rows = subject.rows("conversation")
    loop, sizes, losses = subject.loop(subject.few, rows), rows.sizes.tolist(), []
    for window_tokens in (1, 2 * max(sizes), sum(sizes)):
        found = measure(list(fill_windows(sizes, window_tokens)), loop.look, loop.objective, rows=rows)
        losses.append(math.nan if found is None else found[0])
    return Measured(distance(torch.tensor(losses[1:]), torch.tensor(losses[:1] * 2)), subject.few.on, VALUES)


@dataclass(frozen=True)
class _Fused(PackedDocuments):
    """A layout that takes, on a CPU too, the way that CUDA takes."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring) -> Tensor:
        if scoring.softcap is None and scoring.window is None:
            return self.attend_fused(query, key, value, scoring)
        return super().attend(layer, query, key, value, scoring)


def _require_fused(subject: Subject) -> None:
    config = subject.few.model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = kinds == {"sliding_attention"} or (
        getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None)
    )
    if getattr(config, "attn_logit_softcapping", None) or windowed:
        raise NotApplicableError("each layer has a window or a soft cap, which are computed block by block everywhere")


def _states(adapted: Adapted, window: Window, *, fused: bool = False) -> Tensor:
    """(tokens, hidden)."""
    layout = _Fused(window.layout.lengths, window.layout.after) if fused else window.layout
    return hidden_states(adapted.model, window.ids, layout)[0]


@torch.no_grad()
def _reached(subject: Subject, *, fused: bool) -> float:
    """Numbers outside a changed segment, and not behind it in its own document, that change with it."""
    talks, pairs = list(subject.rows("conversation")[:3]), list(subject.rows("pair")[:1])
    reached = 0
    # a document between two; the first of two answers to a prompt; what fills a window up
    for rows, poisoned in ((talks, 1), (pairs + talks[:1], 1), (talks, -1)):
        window = Window.pack(rows, round_to=ROUND_TOKENS)
        first, end = window.layout.spans[poisoned]
        other = window.ids.clone()
        other[0, first:end] = (other[0, first:end] + 1) % subject.few.model.get_input_embeddings().weight.shape[0]
        before, after = (_states(subject.few, replace(window, ids=ids), fused=fused) for ids in (window.ids, other))
        changed = (before != after).any(-1)
        if not changed[first:end].any():
            return float("inf")  # nothing was poisoned, so nothing is proved
        changed[first:end] = False
        reached += int((before != after)[changed].sum())
    return float(reached)


STATEMENTS: dict[str, Statement] = {
    "accumulated": Statement(
        "A step in several windows is one big batch, its partial last window included.",
        "loss and gradients of one step over all rows, in several windows and in one",
        accumulated,
    ),
    "packed": Statement(
        "Packed rows give what each gives alone.",
        "hidden states and the adapter's gradients, in one window and row by row",
        packed,
    ),
    "attention": Statement(
        "Our attention computes what transformers' own does.",
        "logits of rows, against transformers' eager attention",
        as_transformers,
    ),
    "documents apart": Statement(
        "No document sees another, and no answer the other answer to its prompt.",
        "hidden states when the tokens of one document, or of one answer, are others: all else keeps its bits",
        apart,
    ),
    "documents apart, fused": Statement(
        "The same on the path that a GPU takes.",
        "as above, with PyTorch's fused attention",
        apart_fused,
    ),
    "fused path": Statement(
        "Fused attention computes what block by block does.",
        "hidden states and gradients of a packed window, shared prompt included, on both paths",
        fused_path,
    ),
    "evaluation loss": Statement(
        "The evaluation loss does not depend on how many rows are measured at once.",
        "mean loss of the rows one by one, a few together and all together",
        evaluation,
    ),
}
