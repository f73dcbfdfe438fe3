from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments
from tuneward.training.footprint import Line, measure
from tuneward.training.paper import four_bit_saving, on_paper, paper_footprint
from tuneward.training.recompute import recompute

IDS = list(range(3, 60))


def make(folder: Path, architecture: str, **settings):
    make_tiny_base(folder, architecture=architecture)
    model = load_base(folder, precision="fp32")
    config = AdapterConfig(**settings if "kind" in settings else {"rank": 4} | settings)
    if config.kind == "full":
        model.requires_grad_(True)
    else:
        fuse(model)
        for layer in add_lora(model, config, seed=0).values():
            layer.train()
    return model, config


def saved_by(model, layout):
    """What the graph of one pass keeps, weights left out: the plain way, by holding everything."""
    held = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            kept[storage.data_ptr()] = storage
        return tensor

    ids = torch.tensor([[IDS[i % len(IDS)] for i in range(sum(layout.lengths))]])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden_states(model, ids, layout)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_keeps_what_is_predicted(tmp_path, architecture):
    model, _ = make(tmp_path / "base", architecture)
    layout = PackedDocuments((70, 150, 180))
    predicted, true = measure(model, IDS).saved(layout), saved_by(model, layout)
    assert predicted == pytest.approx(true, rel=0.03)


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"dora": True}, {"kind": "full"}, {"targets": ["q_proj"]}])
def test_every_adapter_keeps_what_is_predicted(tmp_path, settings):
    model, _ = make(tmp_path / "base", "llama", **settings)
    layout = PackedDocuments((60, 90, 120, 40, 10), (None, 0, 0, None, 3))
    assert measure(model, IDS).saved(layout) == pytest.approx(saved_by(model, layout), rel=0.05)


@pytest.mark.parametrize("every", [True, 2])
def test_recomputed_layers_keep_their_inputs(tmp_path, every):
    model, _ = make(tmp_path / "base", "llama")
    layout = PackedDocuments((70, 150, 180))
    footprint = measure(model, IDS)
    again = max(line.at(400) + a.kept(layout) for line, a in zip(footprint.layers, footprint.attention, strict=True))
    recompute(model, every)
    assert footprint.saved(layout, every) - again == pytest.approx(saved_by(model, layout), rel=0.1)


def test_nothing_is_moved_drawn_or_left(tmp_path):
    model, _ = make(tmp_path / "base", "llama", dropout=0.5)
    before, drawn = {n: p.clone() for n, p in model.named_parameters()}, torch.get_rng_state()
    measure(model, IDS)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.named_parameters())


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "qwen3_moe"])
def test_on_paper_it_is_the_same(tmp_path, architecture):
    model, config = make(tmp_path / "base", architecture)
    paper = paper_footprint(AutoConfig.from_pretrained(tmp_path / "base"), config, precision="fp32")
    layout, true = PackedDocuments((70, 150, 180)), measure(model, IDS)
    assert paper.saved(layout) == pytest.approx(true.saved(layout), rel=0.1 if "moe" in architecture else 0.01)
    assert paper.working.at(400) == pytest.approx(true.working.at(400), rel=0.2)


def test_four_bits_are_counted(tmp_path):
    make_tiny_base(tmp_path / "base")
    config = AutoConfig.from_pretrained(tmp_path / "base")
    model = on_paper(config, AdapterConfig(rank=4), precision="bf16")
    linear = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96)
    assert four_bit_saving(model) == pytest.approx(linear * 1.484 - 2 * 64 * 96, rel=0.01)


def test_a_line_has_no_negative_part():
    assert Line.through(100.0, 90.0) == Line(100.0, 0.0)
    assert Line.through(128.0, 512.0) == Line(0.0, 3.0)
