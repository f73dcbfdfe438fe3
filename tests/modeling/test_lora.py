import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


def fill(layers):
    """B is zero at the start; numbers there make the update and A's gradient visible."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.2, generator=generator)


@pytest.mark.parametrize(
    ("targets", "theirs"),
    [("all-linear", "all-linear"), (("q_proj", "down_proj"), ["q_proj", "down_proj"])],
)
def test_logits_and_gradients_equal_peft(base, targets, theirs):
    config = AdapterConfig(rank=4, alpha=6, targets=targets)
    ours = load_base(base, precision="fp32")
    layers = add_lora(ours, config, seed=0)
    fill(layers)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    peft_model = get_peft_model(plain, LoraConfig(r=4, lora_alpha=6, target_modules=theirs, task_type="CAUSAL_LM"))
    wrapped = {name: m for name, m in peft_model.base_model.model.named_modules() if hasattr(m, "lora_A")}
    assert set(wrapped) == set(layers)
    with torch.no_grad():
        for path, module in wrapped.items():
            module.lora_A.default.weight.copy_(layers[path].a)
            module.lora_B.default.weight.copy_(layers[path].b)

    ids = torch.randint(0, 300, (1, 19), generator=torch.Generator().manual_seed(1))
    layout = PackedDocuments((19,))
    mine = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    reference = peft_model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-5)

    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2))
    (mine * weights).sum().backward()
    (reference * weights).sum().backward()
    for path, module in wrapped.items():
        for grad, expected in (
            (layers[path].a.grad, module.lora_A.default.weight.grad),
            (layers[path].b.grad, module.lora_B.default.weight.grad),
        ):
            torch.testing.assert_close(grad, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)


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


def test_dropout_gradients_are_those_of_the_mask_that_was_drawn(base):
    model = load_base(base, precision="fp32")
    layer = next(iter(add_lora(model, AdapterConfig(rank=4, dropout=0.5), seed=0).values())).double().train()
    fill({"": layer})
    x = torch.randn(5, 64, dtype=torch.float64, requires_grad=True)

    def run(x, a, b):
        torch.manual_seed(0)
        layer.a, layer.b = torch.nn.Parameter(a), torch.nn.Parameter(b)
        del layer._parameters["a"], layer._parameters["b"]
        layer.a, layer.b = a, b
        return layer(x)

    # gradcheck needs gradients in the inputs' own type; the product hands back fp32, so compare numerically by hand
    a, b = layer.a.detach(), layer.b.detach()
    y = run(x, a.requires_grad_(), b.requires_grad_())
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    for tensor in (x, a, b):
        step = torch.randn_like(tensor)
        with torch.no_grad():
            tensor += 1e-6 * step
            up = (run(x, a, b) * weights).sum()
            tensor -= 2e-6 * step
            down = (run(x, a, b) * weights).sum()
            tensor += 1e-6 * step
        slope = float((up - down) / 2e-6)
        assert float((tensor.grad * step).sum()) == pytest.approx(slope, rel=1e-4)


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
