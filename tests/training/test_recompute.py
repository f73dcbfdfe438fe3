"""Recomputed layers: the same gradients to the bit, dropout included, and less kept for the backward pass."""

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from tests.tiny import make_tiny_base
from tests.training.rows import write_rows
from tests.training.runs import make_loop, rows_of
from tuneward.errors import ModelError
from tuneward.modeling.base_model import load_base
from tuneward.modeling.layers import decoder_layers
from tuneward.training.batches import Window
from tuneward.training.recompute import recompute, recomputed_layers

ARCHITECTURES = ["llama", "gemma3_text", "qwen3_moe", "phi3"]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def wide(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    base = make_tiny_base(folder / "base", architecture=request.param, num_hidden_layers=4)
    return base, rows_of(base, write_rows(folder / "train.jsonl", 9))


def one_pass(base, rows, folder, **settings):
    """Gradients of a window, the bytes that its forward pass kept, and the generator's next number."""
    loop, layers = make_loop(base, rows, folder, **settings)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)
    loop.trainable.begin()
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in loop.model.parameters()}
    torch.manual_seed(3)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = loop.loss(Window.pack(list(rows)))
    after = torch.rand(1)
    loss.total.backward()
    gradients = {name: p.grad.clone() for name, p in loop.parameters.items()}
    return gradients, sum(size for at, size in kept.items() if at not in own), after


@pytest.mark.parametrize("adapter", [{"rank": 4, "dropout": 0.2}, {"kind": "full"}])
def test_gradients_are_the_same_bits_and_less_is_kept(wide, tmp_path, adapter):
    base, rows = wide
    if "dropout" in adapter and base.parent.name.startswith("qwen3_moe"):  # experts have none
        adapter = {"rank": 4}
    plain, most, after = one_pass(base, rows, tmp_path, adapter=adapter)
    sizes = {}
    for setting in (True, 2):
        gradients, sizes[setting], then = one_pass(base, rows, tmp_path, adapter=adapter, recompute=setting)
        assert set(gradients) == set(plain)
        assert all(torch.equal(gradients[name], plain[name]) for name in plain)
        assert torch.equal(then, after)
    assert sizes[True] < sizes[2] < most
    assert sizes[True] < 0.45 * most


def test_which_layers(wide):
    base, _ = wide
    model = load_base(base, precision="fp32")
    assert recompute(model, False) == 0
    assert recompute(model, 3) == recomputed_layers(4, 3) == 2
    layers = decoder_layers(model)
    assert ["forward" in vars(layer) for layer in layers] == [True, False, False, True]
    assert recomputed_layers(4, True) == 4


def test_without_gradient_nothing_is_computed_twice(base, monkeypatch, tmp_path):
    rows = rows_of(base, write_rows(tmp_path / "train.jsonl", 3))
    loop, _ = make_loop(base, rows, tmp_path, recompute=True)
    plain, _ = make_loop(base, rows, tmp_path)
    monkeypatch.setattr("tuneward.training.recompute.checkpoint", None)
    ours, theirs = (one.look([0, 1, 2])[0].hidden for one in (loop, plain))
    assert torch.equal(ours, theirs)


def test_layers_in_no_list_are_refused(base):
    model = load_base(base, precision="fp32")
    model.model.layers = nn.Sequential(*model.model.layers)
    with pytest.raises(ModelError, match="TW-TRAIN-044"):
        recompute(model, True)
