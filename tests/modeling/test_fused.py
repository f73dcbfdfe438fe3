import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.fused import fuse, rms_norm
from tuneward.modeling.packed import PackedDocuments


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_norm_is_found_and_the_model_stays_the_same(tmp_path, architecture):
    folder = make_tiny_base(tmp_path, architecture=architecture)
    plain, fused = load_base(folder, precision="fp32"), load_base(folder, precision="fp32")
    with torch.no_grad():
        for one, two in zip(plain.modules(), fused.modules(), strict=True):
            if type(one).__name__.endswith("RMSNorm"):
                one.weight.uniform_(0.5, 1.5)
                two.weight.copy_(one.weight)
    norms = sum(type(module).__name__.endswith("RMSNorm") for module in plain.modules())
    assert fuse(fused)["rms_norm"] == norms
    ids, layout = torch.arange(20).unsqueeze(0), PackedDocuments((12, 8))
    difference = hidden_states(fused, ids, layout) - hidden_states(plain, ids, layout)
    assert difference.abs().max() < 5e-5  # states are of order 1, through up to seven layers of norms


def test_gradient_is_right():
    x = torch.randn(3, 7, requires_grad=True)
    factor = torch.rand(7) + 0.5

    def plain(x):
        return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * factor

    weights = torch.randn(3, 7)
    (ours,) = torch.autograd.grad((rms_norm(x, factor, 1e-6) * weights).sum(), x)
    (theirs,) = torch.autograd.grad((plain(x) * weights).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_what_only_looks_like_a_norm_is_left_alone():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

        def forward(self, x):
            return x * torch.rsqrt(x.abs().mean(-1, keepdim=True) + self.eps) * self.weight

    odd = Odd()
    assert fuse(nn.Sequential(odd, nn.LayerNorm(8)))["rms_norm"] == 0
    assert "forward" not in vars(odd)
