import sys
import types

import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from tests.modeling.kernel_cases import distance, needs_kernels
from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling import rotary
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.fused import fuse
from tuneward.modeling.packed import PackedDocuments


@needs_kernels
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_model_in_bf16_stays_what_it_is(tmp_path, architecture):
    folder = make_tiny_base(tmp_path, architecture=architecture)
    exact, plain, fused = (load_base(folder, precision=p) for p in ("fp32", "bf16", "bf16"))
    layers = sum("Attention" in type(module).__name__ for module in fused.modules())
    assert fuse(fused)["rotary"] == layers
    ids, layout = torch.arange(20).unsqueeze(0), PackedDocuments((12, 8))
    wanted = hidden_states(exact, ids, layout).double()
    # rounding less often brings nothing further away; a wrong angle does
    ours, theirs = (distance(hidden_states(model, ids, layout), wanted) for model in (fused, plain))
    assert ours < 1.1 * theirs + 1e-3
    # only instances were changed
    assert all("forward" not in vars(module) for module in plain.modules())


@needs_kernels
def test_another_rotation_is_left_alone():
    def interleaved(q, k, cos, sin, unsqueeze_dim=1):
        def turn(x):
            return x * cos + torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2) * sin

        return turn(q), turn(k)

    assert not rotary._turns_halves(interleaved)


@needs_kernels
def test_what_the_kernel_does_not_take_goes_to_theirs():
    asked = []

    def theirs(q, k, cos, sin, unsqueeze_dim=1):
        asked.append(unsqueeze_dim)
        return q, k

    apply = rotary._ours(theirs)
    q, angles = torch.ones(1, 2, 3, 8), torch.ones(1, 3, 8)
    apply(q, q, angles, angles)  # fp32
    low = q.bfloat16(), q.bfloat16(), angles.bfloat16(), angles.bfloat16()
    apply(*low, unsqueeze_dim=2)
    apply(low[0], low[1], low[2][..., :4], low[3][..., :4])  # a part of the width only
    assert asked == [1, 2, 1]
    turned = apply(*low)[0]
    assert asked == [1, 2, 1]
    assert not torch.equal(turned, low[0])


@needs_kernels
def test_a_call_of_another_form_reaches_theirs_as_it_came():
    asked = []

    def theirs(q, k=None, cos=None, sin=None, position_ids=None):
        asked.append((k is None, position_ids))
        return q if k is None else (q, k)

    apply = rotary._ours(theirs)
    q, angles = torch.ones(1, 2, 3, 8).bfloat16(), torch.ones(1, 3, 8).bfloat16()
    assert apply(q, cos=angles, sin=angles) is q  # of queries alone
    apply(q, q, angles, angles, "positions")
    assert asked == [(True, None), (False, "positions")]
    longer = torch.ones(1, 1, 5, 8).bfloat16()  # more keys than angles: not to be read beyond their end
    apply(q, longer, angles, angles)
    assert len(asked) == 3


@needs_kernels
def test_what_the_forward_calls_is_what_is_asked(monkeypatch):
    """A class may take its forward from another file, whose rotation is not its own file's."""

    def interleaved(q, k, cos, sin, unsqueeze_dim=1):
        return tuple(torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2) * sin + x * cos for x in (q, k))

    def forward(self, q, k, cos, sin):
        return apply_rotary_pos_emb(q, k, cos, sin)

    far = {"apply_rotary_pos_emb": interleaved}
    taken = types.FunctionType(forward.__code__, far, "forward")
    monkeypatch.setattr(sys.modules[__name__], rotary.NAME, apply_rotary_pos_emb, raising=False)
    attention = type("Attention", (torch.nn.Module,), {"forward": taken, "__module__": __name__})
    assert not rotary.fuse_rotary(attention())
