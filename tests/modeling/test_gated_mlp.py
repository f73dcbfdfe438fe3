import pytest
import torch
from torch import nn

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.fused import fuse
from tuneward.modeling.gated_mlp import activation_of, gated_mlp
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments

#: Architectures whose MLP is written in another way and stays as it is.
OTHERS = {"phi3", "qwen3_moe", "mixtral"}


def trained(folder, *, fused, **settings):
    """A tiny model with an adapter whose B is not zero."""
    model = load_base(folder, precision="fp32")
    counts = fuse(model) if fused else {}
    layers = add_lora(model, AdapterConfig(rank=4, **settings), seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)
    return model, layers, counts


@pytest.mark.parametrize("settings", [{}, {"rslora": True}, {"dora": True}, {"targets": ("q_proj", "up_proj")}])
@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - OTHERS))
def test_values_and_gradients_are_those_of_layers_one_by_one(tmp_path, architecture, settings):
    folder = make_tiny_base(tmp_path, architecture=architecture)
    found = []
    for fused in (False, True):
        model, layers, counts = trained(folder, fused=fused, **settings)
        hidden = hidden_states(model, torch.arange(5, 25).unsqueeze(0), PackedDocuments((12, 8)))
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        names = [(path, name) for path, layer in layers.items() for name, _ in layer.named_parameters(recurse=False)]
        found.append((hidden.detach(), {n: getattr(layers[n[0]], n[1]).grad for n in names}))
    assert counts["gated_mlp"] == model.config.get_text_config().num_hidden_layers
    torch.testing.assert_close(found[1][0], found[0][0], atol=5e-5, rtol=1e-4)
    for name, gradient in found[0][1].items():
        spread = float(gradient.abs().max())
        torch.testing.assert_close(found[1][1][name], gradient, atol=2e-5 * max(spread, 1.0), rtol=1e-3)


def saved_bytes(compute):
    """Bytes that a computation keeps for its backward pass, parameters left out."""
    kept = {}

    def keep(tensor):
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    return sum(kept.values())


def test_it_keeps_two_wide_tensors_where_the_plain_form_keeps_four(tmp_path):
    folder = make_tiny_base(tmp_path)
    tokens, width = 40, 96
    kept = []
    for fused in (False, True):
        model, _, _ = trained(folder, fused=fused)
        mlp, x = model.get_submodule("model.layers.0.mlp"), torch.randn(tokens, 64, requires_grad=True)
        kept.append(saved_bytes(lambda mlp=mlp, x=x: mlp(x)))
    assert kept[0] - kept[1] == 2 * tokens * width * 4


def test_an_mlp_of_another_make_is_left_alone(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj, self.up_proj, self.down_proj = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)
            self.act_fn = nn.SiLU()

        def forward(self, x):
            return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x) + 1)

    odd = Odd()
    assert fuse(nn.Sequential(odd))["gated_mlp"] == 0
    assert "forward" not in vars(odd)


@pytest.mark.parametrize(
    ("function", "name"),
    [(nn.SiLU(), "silu"), (nn.GELU(approximate="tanh"), "gelu"), (nn.GELU(), None), (nn.ReLU(), None)],
)
def test_an_activation_is_known_by_its_values(function, name):
    assert activation_of(function) == name


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_gradients_without_an_adapter(activation):
    torch.manual_seed(0)
    layers = [nn.Linear(*size) for size in ((8, 16), (8, 16), (16, 8))]
    x = torch.randn(5, 8, requires_grad=True)
    act = nn.SiLU() if activation == "silu" else nn.GELU(approximate="tanh")
    plain = layers[2](act(layers[0](x)) * layers[1](x))
    leaves = [x, *(p for layer in layers for p in layer.parameters())]
    expected = torch.autograd.grad(plain.square().sum(), leaves)
    ours = torch.autograd.grad(gated_mlp(x, *layers, activation).square().sum(), leaves)
    for one, two in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, two)
