from statistics import mean

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling import lora
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import LoraLinear, add_lora, set_weights, unreached, weights_of
from tuneward.modeling.packed import PackedDocuments

VARIANTS = {
    "plain": {},
    "rslora": {"rslora": True},
    "dropout": {"dropout": 0.3},
    "dora": {"dora": True},
    "dora+rslora+dropout": {"dora": True, "rslora": True, "dropout": 0.3},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def architecture(request, tmp_path_factory):
    folder = make_tiny_base(tmp_path_factory.mktemp(request.param), architecture=request.param)
    if request.param == "qwen2":  # its biases are zero at the start, and large in models that were trained
        model = AutoModelForCausalLM.from_pretrained(folder)
        generator = torch.Generator().manual_seed(6)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter, std=2.0, generator=generator)
        model.save_pretrained(folder)
    return folder


def fill(layers):
    """B is zero at the start and magnitudes are the base's; numbers there make the update and A's gradient visible."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)
            if layer.magnitude is not None:
                layer.magnitude *= 1 + 0.2 * torch.randn(layer.magnitude.shape, generator=generator)


class GivenDropout(nn.Module):
    """Stands in for PEFT's dropout: the mask that our layer uses."""

    def __init__(self, drop, probability):
        super().__init__()
        self.drop, self.probability = drop, probability

    def forward(self, x):
        return x.masked_fill(self.drop.view_as(x), 0) / (1 - self.probability)


def pefts(folder, layers, config, *, dtype):
    """The same adapter in PEFT, with fp32 factors as PEFT keeps them, and the layers in it by path."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    targets = "all-linear" if config.targets == "all-linear" else list(config.targets)
    if unreached(plain):  # PEFT's all-linear takes a mixture's experts and router in, which are no linear layers
        targets = sorted(layers)
    theirs = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        use_dora=config.dora,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(plain, theirs).eval()
    wrapped = {name: m for name, m in model.base_model.model.named_modules() if hasattr(m, "lora_A")}
    with torch.no_grad():
        for path, module in wrapped.items():
            module.lora_A.default.weight.copy_(layers[path].a)
            module.lora_B.default.weight.copy_(layers[path].b)
            if config.dora:
                module.lora_magnitude_vector.default.weight.copy_(layers[path].magnitude)
    return model, wrapped


def share_masks(layers, wrapped, dropout):
    for number, (path, module) in enumerate(wrapped.items()):
        drop = torch.rand(19, module.in_features, generator=torch.Generator().manual_seed(number)) < dropout
        module.lora_dropout["default"] = GivenDropout(drop, dropout)
        layers[path].draw = lambda x, drop=drop: drop.to(torch.int8) - 1
        layers[path].train()
        module.train()


def both(folder, config, precision):
    """Logits and gradients of ours and of PEFT's, through one model."""
    ours = load_base(folder, precision=precision)
    layers = add_lora(ours, config, seed=0)
    fill(layers)
    reference, wrapped = pefts(folder, layers, config, dtype=ours.dtype)
    assert set(wrapped) == set(layers)
    if config.dropout:
        share_masks(layers, wrapped, config.dropout)
    ids = torch.randint(0, 300, (1, 19), generator=torch.Generator().manual_seed(1))
    layout = PackedDocuments((19,))
    mine = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    theirs = reference(input_ids=ids, use_cache=False).logits
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2))
    (mine.float() * weights).sum().backward()
    (theirs.float() * weights).sum().backward()
    gradients = []
    for path, module in wrapped.items():
        layer = layers[path]
        gradients += [
            (layer.a.grad, module.lora_A.default.weight.grad),
            (layer.b.grad, module.lora_B.default.weight.grad),
        ]
        if layer.magnitude is not None:
            gradients.append((layer.magnitude.grad, module.lora_magnitude_vector.default.weight.grad))
    return mine, theirs, gradients


def distance(left, right):
    """Root mean square of the difference, against that of ``right``."""
    left, right = left.detach().float(), right.detach().float()
    return float((left - right).pow(2).mean().sqrt() / right.pow(2).mean().sqrt())


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_equal_pefts_on_every_architecture(architecture, variant):
    config = AdapterConfig(rank=4, alpha=6, **VARIANTS[variant])
    mine, theirs, gradients = both(architecture, config, "fp32")
    assert distance(mine, theirs) < 2e-6
    for grad, expected in gradients:
        assert grad.dtype == torch.float32
        assert distance(grad, expected) < 2e-5


def test_named_targets_equal_pefts(base):
    config = AdapterConfig(rank=4, alpha=6, targets=("q_proj", "down_proj"))
    mine, theirs, gradients = both(base, config, "fp32")
    assert distance(mine, theirs) < 2e-6
    assert all(distance(grad, expected) < 2e-5 for grad, expected in gradients)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_is_as_near_to_fp32_as_pefts(base, variant):
    """PEFT casts the input to fp32 for the update; we do not. Both are as far from fp32: the base's rounding rules."""
    config = AdapterConfig(rank=4, alpha=6, **VARIANTS[variant])
    exact, _, exact_gradients = both(base, config, "fp32")
    mine, theirs, gradients = both(base, config, "bf16")
    assert distance(mine, exact) < 1.5 * distance(theirs, exact)
    assert distance(mine, theirs) < 0.03
    away = [[], []]
    for (grad, expected), (right, _) in zip(gradients, exact_gradients, strict=True):
        away[0].append(distance(grad, right))
        away[1].append(distance(expected, right))
        assert distance(grad, expected) < 0.06
    assert mean(away[0]) < 1.25 * mean(away[1])


def test_start_is_the_base_and_follows_the_seed(base):
    plain, ours, other = (load_base(base, precision="fp32") for _ in range(3))
    layers, others = (add_lora(model, AdapterConfig(rank=4), seed=seed) for model, seed in ((ours, 3), (other, 4)))
    layout, ids = PackedDocuments((9,)), torch.arange(9).unsqueeze(0)
    assert torch.equal(hidden_states(plain, ids, layout), hidden_states(ours, ids, layout))
    assert all(not torch.equal(layers[path].a, others[path].a) for path in layers)


def test_only_the_adapter_trains_and_the_head_is_no_target(base):
    model = load_base(base, precision="fp32")
    layers = add_lora(model, AdapterConfig(rank=4), seed=0)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{path}.{side}" for path in layers for side in "ab"}
    assert not any("lm_head" in path for path in layers)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dora", [True, False])
def test_gradients_are_slopes(dora, bias, dropout):
    """Against autograd through the formula in fp64, with the norm held fast as the paper says."""
    torch.manual_seed(0)
    linear = nn.Linear(24, 16, bias=bias).requires_grad_(False)
    config = AdapterConfig(rank=4, dora=dora, dropout=dropout)
    layer = LoraLinear(linear, config, torch.Generator().manual_seed(0)).train()
    fill({"": layer})
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()
    keep = layer.draw(x)
    layer.draw = lambda _: keep
    weights = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    (layer(x) * weights).sum().backward()

    kept = -keep.double() / (1 - dropout)
    ours = [x, layer.a, layer.b, *([layer.magnitude] if dora else [])]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    weight, constant = linear.weight.double(), linear.bias.double() if bias else None
    seen = exact[0] * kept
    update = layer.scale * seen @ exact[1].T @ exact[2].T
    y = nn.functional.linear(exact[0], weight, constant) + update
    if dora:
        norms = (weight + layer.scale * exact[2] @ exact[1]).detach().norm(dim=1)
        y = y + (exact[3] / norms - 1) * (seen @ weight.T + update)
    assert distance(layer(x), y) < 1e-6
    (y * weights).sum().backward()
    for mine, expected in zip(ours, exact, strict=True):
        assert distance(mine.grad, expected.grad) < 2e-6


def test_masks_are_drawn_with_the_probability(base):
    layer = LoraLinear(nn.Linear(640, 64), AdapterConfig(rank=4, dropout=0.05), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    keep = layer.draw(torch.empty(2, 501, 640))
    assert (keep.shape, keep.dtype, set(keep.unique().tolist())) == ((1002, 640), torch.int8, {-1, 0})
    drop = keep == 0
    assert abs(float(drop.float().mean()) - 0.05) < 4 * (0.05 * 0.95 / drop.numel()) ** 0.5
    for axis in (0, 1):  # no row, no column and no neighbour is drawn otherwise
        spread = drop.float().mean(axis).std() * (drop.shape[axis] / (0.05 * 0.95)) ** 0.5
        assert 0.9 < float(spread) < 1.1
    pairs = drop.flatten()[:-1] & drop.flatten()[1:]
    assert abs(float(pairs.float().mean()) - 0.0025) < 0.0004
    assert not torch.equal(keep, layer.draw(torch.empty(2, 501, 640)))


@pytest.mark.parametrize(("dora", "bias", "saved"), [(False, False, 2), (False, True, 2), (True, False, 3)])
def test_only_the_input_and_narrow_things_are_kept(dora, bias, saved):
    """Wide tensors that a layer keeps: input and, with DoRA, its own output, which what follows keeps as well."""
    linear = nn.Linear(64, 64, bias=bias).requires_grad_(False)
    layer = LoraLinear(linear, AdapterConfig(rank=4, dora=dora), torch.Generator().manual_seed(0))
    kept = []
    x = torch.randn(100, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = layer(x)
    by_token = [t for t in kept if t.shape[0] == 100]
    assert sorted(t.shape[1] for t in by_token) == sorted([4, 64, 64][:saved])
    assert {t.data_ptr() for t in by_token if t.shape[1] == 64} <= {x.data_ptr(), y.data_ptr()}


def test_dropout_is_off_outside_training(base):
    model = load_base(base, precision="fp32")
    layers = add_lora(model, AdapterConfig(rank=4, dropout=0.9), seed=0)
    fill(layers)
    layout, ids = PackedDocuments((9,)), torch.arange(9).unsqueeze(0)
    assert torch.equal(hidden_states(model, ids, layout), hidden_states(model, ids, layout))
    for layer in layers.values():
        layer.train()
    assert not torch.equal(hidden_states(model, ids, layout), hidden_states(model, ids, layout))


def test_unknown_targets_are_all_named_with_the_nearest(base):
    with pytest.raises(ModelError) as caught:
        add_lora(load_base(base, precision="fp32"), AdapterConfig(targets=("q_prj", "nonsense")), seed=0)
    assert [fault.code for fault in caught.value.faults] == ["TW-BASE-033", "TW-BASE-033"]
    assert "q_proj" in caught.value.faults[0].cure


def test_rank_above_a_layers_size_is_refused(base):
    with pytest.raises(ModelError) as caught:
        add_lora(load_base(base, precision="fp32"), AdapterConfig(rank=64), seed=0)
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-034"}
    assert caught.value.faults[0].cure == "at most 32"


def test_bfloat16_stays_bfloat16_and_masters_stay_fp32(base):
    model = load_base(base, precision="bf16")
    layers = add_lora(model, AdapterConfig(rank=4), seed=0)
    out = hidden_states(model, torch.arange(9).unsqueeze(0), PackedDocuments((9,)))
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(layer.a.dtype == layer.b.grad.dtype == torch.float32 for layer in layers.values())


def test_the_output_head_is_no_target(base):
    with pytest.raises(ModelError) as caught:
        add_lora(load_base(base, precision="fp32"), AdapterConfig(targets=("lm_head", "q_proj")), seed=0)
    (fault,) = caught.value.faults
    assert fault.code == "TW-BASE-038"
    assert "q_proj" in fault.cure


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"dora": True, "rslora": True}])
def test_merged_weights_equal_pefts(base, settings):
    config = AdapterConfig(rank=4, alpha=6, **settings)
    layers = add_lora(load_base(base, precision="fp32"), config, seed=0)
    fill(layers)
    model, _ = pefts(base, layers, config, dtype=torch.float32)
    merged = model.merge_and_unload()
    for path, layer in layers.items():
        torch.testing.assert_close(layer.merged(), merged.get_submodule(path).weight, atol=1e-6, rtol=1e-5)


def test_weights_go_over_to_layers_of_the_same_kind_and_to_no_others(base):
    config = AdapterConfig(rank=4, dora=True)
    layers, others = (add_lora(load_base(base, precision="fp32"), config, seed=seed) for seed in (0, 1))
    fill(layers)
    set_weights(others, weights_of(layers, config))
    for path, layer in layers.items():
        for mine, theirs in zip(layer.parameters(), others[path].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    for changed, faults in (({"dora": False}, len(layers)), ({"rslora": True}, 1), ({"rank": 8, "alpha": 64.0}, 1)):
        other = config.model_copy(update=changed)
        with pytest.raises(ModelError) as caught:
            set_weights(add_lora(load_base(base, precision="fp32"), other, seed=0), weights_of(layers, config))
        assert {fault.code for fault in caught.value.faults} == {"TW-BASE-036"}
        assert len(caught.value.faults) == faults


def test_what_no_adapter_reaches_is_told(architecture):
    model = load_base(architecture, precision="fp32")
    missed = unreached(model)
    if "experts" not in "".join(name for name, _ in model.named_parameters()):
        assert missed is None
        return
    assert sorted(name.rpartition(".mlp.")[2] for name in missed.weights) == [
        "experts.down_proj",
        "experts.gate_up_proj",
        "gate.weight",
    ]
    inner = [p.numel() for name, p in model.named_parameters() if p.ndim > 1 and "layers" in name]
    assert missed.share == pytest.approx(sum(missed.weights.values()) / sum(inner))
    assert "experts" in str(missed)
    add_lora(model, AdapterConfig(rank=4), seed=0)
    assert unreached(model) == missed


@pytest.mark.parametrize("grad", [True, False])
def test_an_update_of_zero_is_passed_by_where_nothing_learns(monkeypatch, grad):
    layer = LoraLinear(
        nn.Linear(8, 6, bias=True).requires_grad_(False), AdapterConfig(rank=2, alpha=4), torch.Generator()
    )
    asked = []
    whole = lora.lora_product
    monkeypatch.setattr(lora, "lora_product", lambda *a, **k: asked.append(1) or whole(*a, **k))
    x = torch.randn(3, 8)
    with torch.set_grad_enabled(grad):
        assert torch.equal(layer(x), layer.base(x))
        assert len(asked) == grad
        with torch.no_grad():
            layer.b[5, 1] = 1e-6
        layer(x)
    assert len(asked) == 1 + grad
