"""A prompt that two answers share is passed through the model once, and nobody can tell from the numbers."""

import pytest
import torch

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling import packed
from tuneward.modeling.attention import Scoring
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.packed import PackedDocuments

#: (prompt, answers …) in tokens; answers of one token, prompts of one token, prompts longer than the windows of 9.
FAMILIES = ((21, 6, 11), (1, 4, 1), (13, 1, 1), (5, 17, 3, 2))
#: Prompts around and beyond the length up to which weights are kept for the backward pass.
LONG = ((packed.KEPT_TOKENS + 30, 40, 3), (packed.KEPT_TOKENS - 5, 4, 9))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return lambda name: (
        make_tiny_base(folder / name, architecture=name) if not (folder / name).exists() else folder / name
    )


@pytest.fixture(params=["as set", "small blocks"])
def blocks(request, monkeypatch):
    """Small sizes force many blocks a segment, odd columns, and weights that are computed again."""
    if request.param == "small blocks":
        monkeypatch.setattr(packed, "BLOCK_ROWS", 4)
        monkeypatch.setattr(packed, "ROUND", 3)
        monkeypatch.setattr(packed, "KEPT_TOKENS", 6)


def assert_shared_equals_separate(model, families):
    """Hidden states that a loss looks at, and gradients of all weights, with and without sharing."""
    draw = torch.Generator().manual_seed(1)
    ids, after, lengths, at = [], [], [], 0
    places, shared_places = [], []  # of each answer: the prompt's last token and the answer's tokens
    separate_ids, separate_lengths, start = [], [], 0
    for prompt, *answers in families:
        head = torch.randint(0, 300, (prompt,), generator=draw)
        first, number = at, len(lengths)
        ids, after, lengths, at = [*ids, head], [*after, None], [*lengths, prompt], at + prompt
        for answer in answers:
            branch = torch.randint(0, 300, (answer,), generator=draw)
            shared_places += [first + prompt - 1, *range(at, at + answer)]
            ids, after, lengths, at = [*ids, branch], [*after, number], [*lengths, answer], at + answer
            separate_ids += [head, branch]
            separate_lengths.append(prompt + answer)
            places += range(start + prompt - 1, start + prompt + answer)
            start += prompt + answer
    weights = torch.randn(len(places), model.config.hidden_size, generator=draw)

    def run(ids, layout, places):
        model.zero_grad()
        states = hidden_states(model, torch.cat(ids).unsqueeze(0), layout)[0][places]
        (states * weights).sum().backward()
        return states.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    ours, gradients = run(ids, PackedDocuments(tuple(lengths), tuple(after)), shared_places)
    alone, expected = run(separate_ids, PackedDocuments(tuple(separate_lengths)), places)
    torch.testing.assert_close(ours, alone, atol=1e-6 * float(alone.abs().max()), rtol=0)
    assert gradients.keys() == expected.keys()
    assert len(expected) > 8
    for name, gradient in expected.items():
        difference = (gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-3)
        assert difference < 3e-6, (name, float(difference))  # sums of many roundings, in another order


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_shared_prompt_equals_separate_sequences(bases, architecture):
    model = load_base(bases(architecture), precision="fp32")
    model.requires_grad_(True)
    assert_shared_equals_separate(model, FAMILIES)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
def test_a_long_shared_prompt_equals_separate_sequences(bases, architecture):
    model = load_base(bases(architecture), precision="fp32")
    model.requires_grad_(True)
    assert_shared_equals_separate(model, LONG)


CHAIN = PackedDocuments((7, 3, 5, 2, 4, 9), (None, 0, 0, 2, None, 4))  # an answer that is gone on with, too
KEPT = PackedDocuments((7, 3, 5, 2, 4, 9))


def states(layout, dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    tokens = sum(layout.lengths)
    shapes = (1, 4, tokens, 16), (1, 2, tokens, 16), (1, 2, tokens, 16)
    return [torch.randn(*shape, generator=draw).to(dtype).requires_grad_() for shape in shapes]


def masked(layout, query, key, value, scoring):
    """Plain attention under a mask that is written down token by token."""
    owner = [number for number, length in enumerate(layout.lengths) for _ in range(length)]
    ancestors = []
    for number in range(len(layout.lengths)):
        before = layout.after[number] if layout.after else None
        ancestors.append({number} | (ancestors[before] if before is not None else set()))
    seen = torch.tensor(
        [[b <= a and owner[b] in ancestors[owner[a]] for b in range(len(owner))] for a in range(len(owner))]
    )
    if scoring.window is not None:
        places = layout.position_ids()[0]
        seen &= places[:, None] - places < scoring.window
    key, value = (t.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for t in (key, value))
    scores = query @ key.transpose(2, 3) * scoring.scaling
    if scoring.softcap is not None:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    return (torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ value).transpose(1, 2)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("layout", [CHAIN, KEPT], ids=["continued", "plain"])
@pytest.mark.parametrize(("window", "softcap"), [(None, None), (4, None), (1, None), (None, 3.0), (4, 3.0)])
def test_blocks_equal_a_written_down_mask(layout, window, softcap):
    scoring = Scoring(0.3, window, softcap)
    leaves, others = states(layout), states(layout)
    ours, theirs = layout.attend(0, *leaves, scoring), masked(layout, *others, scoring)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-6)
    up = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3))
    (ours * up).sum().backward()
    (theirs * up).sum().backward()
    for one, two in zip(leaves, others, strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=3e-6, rtol=1e-5)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("layout", [CHAIN, KEPT], ids=["continued", "plain"])
def test_fused_kernels_equal_blocks(layout):
    scoring = Scoring(0.3, None, None)
    leaves, others = states(layout), states(layout)
    ours, theirs = layout.attend_fused(*leaves, scoring), layout.attend(0, *others, scoring)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-6)
    up = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3))
    (ours * up).sum().backward()
    (theirs * up).sum().backward()
    for one, two in zip(leaves, others, strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=3e-6, rtol=1e-5)


def test_positions_go_on_in_what_continues():
    assert CHAIN.position_ids()[0, 7:17].tolist() == [7, 8, 9, 7, 8, 9, 10, 11, 12, 13]


def test_an_answer_does_not_feel_the_other():
    leaves = [leaf.detach() for leaf in states(CHAIN)]
    before = CHAIN.attend(0, *leaves, Scoring(0.3, None, None))
    changed = [leaf.clone() for leaf in leaves]
    for leaf in changed:
        leaf[:, :, 7:10] += 1  # the first answer
    after = CHAIN.attend(0, *changed, Scoring(0.3, None, None))
    assert torch.equal(before[:, :7], after[:, :7])
    assert torch.equal(before[:, 10:], after[:, 10:])
    assert not torch.equal(before[:, 7:10], after[:, 7:10])


@pytest.mark.parametrize("after", [(None,), (None, 1), (0, None), (None, -1)])
def test_a_segment_continues_only_an_earlier_one(after):
    with pytest.raises(AssertionError):
        PackedDocuments((2, 3), after)
