"""A statement that cannot fail is worthless: for each one, the code is broken, and its line must fail.

Each mutation names *all* lines that fail with it, so that a line also stays out of what is none of its business.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tuneward.modeling import attention, lora, merge, packed
from tuneward.modeling.chat import Chat, Example
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.kernels.loading import compiled
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import Nf4Linear, Nf4Matrix
from tuneward.training import batches, loop
from tuneward.training.losses import dpo, head, ipo, orpo, simpo
from tuneward.training.losses.cross_entropy import CrossEntropy
from tuneward.training.losses.kto import Kto
from tuneward.training.losses.objective import Loss
from tuneward.training.losses.reward import Reward
from tuneward.training.rows import IGNORED
from tuneward.training.selfcheck import preferences, subject
from tuneward.training.selfcheck.sample import draw
from tuneward.training.selfcheck.statements import STATEMENTS, lines
from tuneward.training.trainable import FullTrainable, LoraTrainable

PAIR_LOSSES = {"loss dpo", "loss ipo", "loss simpo", "loss orpo"}


@dataclass(frozen=True)
class Mutation:
    """Code broken in one way, and the lines that fail then."""

    breaks: Callable[[pytest.MonkeyPatch], None]
    fails: frozenset[str]


MUTATIONS: dict[str, Mutation] = {}


def mutation(*fails: str):
    def add(breaks):
        MUTATIONS[breaks.__name__] = Mutation(breaks, frozenset(fails))
        return breaks

    return add


def scaled(patch, owner, name, factor, which=lambda *arguments: True):
    """Let a function's or method's tensor be ``factor`` times as large."""
    whole = getattr(owner, name)

    def wrong(*arguments, **named):
        result = whole(*arguments, **named)
        return result * factor if which(*arguments) else result

    patch.setattr(owner, name, wrong)


def relabelled(patch, change):
    """Let ``change(chat, ids, labels)`` spoil the labels of every conversation."""
    whole = Chat.example

    def wrong(self, messages, *, loss_on="answers", tools=None):
        example = whole(self, messages, loss_on=loss_on, tools=tools)
        labels = list(example.labels)
        change(self, example.ids, labels)
        return Example(example.ids, tuple(labels))

    patch.setattr(Chat, "example", wrong)


@mutation("one start token")
def start_token_twice(patch):
    whole = Chat._encode

    def wrong(self, layout, *, end):
        ids, starts = whole(self, layout, end=end)
        return [ids[0], *ids], [start + 1 for start in starts]

    patch.setattr(Chat, "_encode", wrong)


@mutation("ends are learned", "answers are learned")
def end_of_turn_untrained(patch):
    def change(chat, ids, labels):
        labels[:] = [IGNORED if label in chat.stop_ids else label for label in labels]

    relabelled(patch, change)


@mutation("padding")
def padding_masked_by_its_id(patch):
    def change(chat, ids, labels):
        labels[:] = [IGNORED if label == chat.pad_id else label for label in labels]

    relabelled(patch, change)


@mutation("answers are learned", "trained is served")
def end_of_the_prompt_learned(patch):
    def change(chat, ids, labels):
        for place in range(1, len(ids) - 1):
            if labels[place] == IGNORED and labels[place + 1] != IGNORED:
                labels[place - 1 : place + 1] = ids[place - 1 : place + 1]

    relabelled(patch, change)


@mutation("trained is served")
def served_prompt_ends_otherwise(patch):
    whole, pair = Chat.prompt_ids, Chat.pair

    def wrong(self, messages, *, tools=None):
        return [*whole(self, messages, tools=tools), 5]

    def trained(self, *arguments, **named):
        with patch.context() as inner:
            inner.setattr(Chat, "prompt_ids", whole)
            return pair(self, *arguments, **named)

    patch.setattr(Chat, "prompt_ids", wrong)
    patch.setattr(Chat, "pair", trained)


@mutation("accumulated")
def divided_by_window_instead_of_step(patch):
    whole = subject.plan_steps

    def wrong(*arguments, **named):
        return [replace(step, weight=step.weight / len(step.windows)) for step in whole(*arguments, **named)]

    patch.setattr(subject, "plan_steps", wrong)


@mutation(
    *("packed", "accumulated", "documents apart", "documents apart, fused", "evaluation loss", "shared prompt"),
    *("reference", "loss pretrain", "loss sft", "loss kto", "loss reward", *PAIR_LOSSES),
)
def documents_see_one_another(patch):
    patch.setattr(PackedDocuments, "contexts", property(lambda self: tuple(((0, end),) for _, end in self.spans)))


def leaking(patch, name):
    whole = getattr(PackedDocuments, name)

    def wrong(self, *arguments):
        return whole(self, *arguments) + 1e-6 * arguments[-2].mean()

    patch.setattr(PackedDocuments, name, wrong)


@mutation("documents apart")
def a_trace_of_every_document_in_each(patch):
    leaking(patch, "attend")


@mutation("documents apart, fused")
def a_trace_of_every_document_in_each_on_the_fused_path(patch):
    leaking(patch, "attend_fused")


@mutation("fused path")
def fused_attention_is_off(patch):
    scaled(patch, PackedDocuments, "attend_fused", 1.01)


@mutation("attention")
def scores_scaled_otherwise(patch):
    def wrong(module, query, *arguments, **named):
        return attention.attention(module, query * 1.1, *arguments, **named)

    patch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, attention.NAME, wrong)


@mutation("evaluation loss", "accumulated", "loss sft", "loss pretrain")
def mean_of_a_window_for_its_sum(patch):
    whole = CrossEntropy.__call__

    def wrong(self, outputs, window):
        return Loss(whole(self, outputs, window).total / len(window.rows))

    patch.setattr(CrossEntropy, "__call__", wrong)


@mutation("loss head", "four bits")
def head_gradient_slightly_off(patch):
    scaled(patch, head, "_turn", 1.0001)


@mutation("shared prompt", "reference", "loss kto", *PAIR_LOSSES)
def first_answer_token_dropped(patch):
    whole = batches._Packing._answer

    def wrong(self, places, targets, end):
        first = int(self.after[-1] is not None)  # of an answer behind a shared prompt
        whole(self, places[first:], targets[first:], end)

    patch.setattr(batches._Packing, "_answer", wrong)


@mutation("reference")
def reference_is_the_bare_base(patch):
    whole = preferences.add_reference

    def wrong(rows, compute, **named):
        layers = compute.__self__.trainable.layers.values()
        scales = [layer.scale for layer in layers]
        for layer in layers:
            layer.scale = 0.0
        whole(rows, compute, **named)
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale

    patch.setattr(preferences, "add_reference", wrong)


def scaled_entropy(patch, form):
    whole = CrossEntropy.__call__

    def wrong(self, outputs, window):
        return Loss(whole(self, outputs, window).total * (1.01 if self.form == form else 1))

    patch.setattr(CrossEntropy, "__call__", wrong)


@mutation("loss pretrain")
def pretraining_loss_off(patch):
    scaled_entropy(patch, "document")


@mutation("loss sft")
def supervised_loss_off(patch):
    scaled_entropy(patch, "conversation")


@mutation("loss dpo")
def dpo_without_smoothing(patch):
    whole = dpo.smoothed_loss
    patch.setattr(dpo, "smoothed_loss", lambda difference, smoothing: whole(difference, 0.0))


@mutation("loss simpo")
def simpo_without_smoothing(patch):
    whole = dpo.smoothed_loss
    patch.setattr(simpo, "smoothed_loss", lambda difference, smoothing: whole(difference, 0.0))


@mutation("loss ipo")
def ipo_sums_over_tokens(patch):
    patch.setattr(ipo, "answer_tokens", lambda window: torch.ones(window.answers))


@mutation("loss orpo")
def orpo_without_odds(patch):
    patch.setattr(orpo, "log_complement", torch.zeros_like)


@mutation("loss kto")
def kto_without_distance(patch):
    patch.setattr(Kto, "survey", lambda self, passes, summed: None)


@mutation("loss reward")
def reward_of_another_token(patch):
    whole = Reward.scores
    patch.setattr(
        Reward, "scores", lambda self, outputs, window: whole(self, outputs, replace(window, ends=window.ends - 1))
    )


@mutation("lora", "merged")
def half_the_scale(patch):
    whole = lora.lora_product

    def wrong(*arguments, scale, **named):
        return whole(*arguments, scale=scale / 2, **named)

    patch.setattr(lora, "lora_product", wrong)


def merging_too_much(patch, module):
    whole = module.merged_weight

    def wrong(*arguments, scale, **named):
        return whole(*arguments, scale=scale * 1.1, **named)

    patch.setattr(module, "merged_weight", wrong)


@mutation("merged")
def merged_too_much(patch):
    merging_too_much(patch, lora)


@mutation("merged copy")
def copied_with_too_much(patch):
    merging_too_much(patch, merge)


@mutation("merge refused")
def quantised_base_is_merged(patch):
    patch.setattr(merge, "_refuse_quantised", lambda config: None)


@mutation("four bits")
def four_bits_dequantised_wrongly(patch):
    pytest.importorskip("bitsandbytes")
    scaled(patch, Nf4Linear, "dequantise", 1.5)


@mutation("four bits")
def rows_in_four_bits_made_whole_wrongly(patch):
    pytest.importorskip("bitsandbytes")
    scaled(patch, Nf4Matrix, "rows", 1.5)


def saved_otherwise(patch, change):
    whole = FullTrainable.save

    def wrong(self, folder, **named):
        whole(self, folder, **named)
        tensors = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_bytes())
        change(tensors, config)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    patch.setattr(FullTrainable, "save", wrong)


@mutation("tied embeddings", "model reloaded")
def head_lost_when_saved(patch):
    def change(tensors, config):
        config["tie_word_embeddings"] = False
        tensors["lm_head.weight"] = torch.zeros_like(tensors["model.embed_tokens.weight"])

    saved_otherwise(patch, change)


@mutation("model reloaded")
def a_norm_saved_wrongly(patch):
    saved_otherwise(patch, lambda tensors, config: tensors["model.norm.weight"].add_(1e-6))


@mutation("adapter reloaded")
def adapter_saved_in_bf16(patch):
    whole = LoraTrainable.save

    def wrong(self, folder, **named):
        kept = [(layer, layer.a.detach().clone()) for layer in self.layers.values()]
        with torch.no_grad():
            for layer, a in kept:
                layer.a.copy_(a.bfloat16())
            whole(self, folder, **named)
            for layer, a in kept:
                layer.a.copy_(a)

    patch.setattr(LoraTrainable, "save", wrong)


@mutation("resumed")
def resumed_without_random_state(patch):
    patch.setattr(torch, "set_rng_state", lambda state: None)


@mutation("not a number")
def anything_is_finite(patch):
    patch.setattr(loop, "math", SimpleNamespace(isfinite=lambda value: True))


@mutation("kernels")
def kernels_gain_a_tenth(patch):
    scaled(patch, packed, "attend", 1.1)


@mutation("kernels")
def kernel_of_the_head_is_off(patch):
    scaled(patch, head, "head_scores", 1.01)


@pytest.mark.parametrize("name", MUTATIONS)
def test_exactly_these_lines_fail(name, base, tmp_path, monkeypatch):
    found = MUTATIONS[name]
    if found.fails == {"kernels"} and compiled() is None:
        pytest.skip("needs a C compiler at installation, and a CPU with AVX-512 and its bf16 products")
    with monkeypatch.context() as patch:
        found.breaks(patch)
        measured = list(lines(subject.Subject(base, draw(None), AdapterConfig(rank=8, alpha=16), tmp_path)))
    assert {line.name for line in measured if line.verdict == "fail"} == found.fails
    assert all(line.reason for line in measured if line.verdict == "fail")


def test_every_statement_can_fail():
    assert frozenset().union(*(found.fails for found in MUTATIONS.values())) == set(STATEMENTS)
