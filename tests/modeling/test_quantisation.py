import subprocess
import sys
from pathlib import Path

import bitsandbytes.functional
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests.modeling.test_lora import distance, fill
from tests.tiny import make_tiny_base
from tuneward.errors import MachineError, ModelError
from tuneward.modeling import quantisation
from tuneward.modeling.base_model import hidden_states, load_base, prove
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import LoraLinear, add_lora
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import Nf4Linear, quantise, weight_bytes, weight_count

IDS = torch.arange(3, 22).unsqueeze(0)
LAYOUT = PackedDocuments((19,))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"), architecture="qwen2")


def linear(width, height, *, bias=False, dtype=torch.float32):
    torch.manual_seed(width)
    return nn.Linear(width, height, bias=bias, dtype=dtype).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("width", "height"), [(576, 1536), (96, 50), (30, 7), (33, 9)])
def test_numbers_are_those_of_bitsandbytes(width, height, dtype):
    layer = linear(width, height, dtype=dtype)
    packed, state = bitsandbytes.functional.quantize_4bit(
        layer.weight, blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    mine = Nf4Linear(layer)
    assert torch.equal(mine.packed, packed)
    assert torch.equal(mine.dequantise(), bitsandbytes.functional.dequantize_4bit(packed, state))
    assert mine.dequantise().dtype == dtype
    assert distance(mine.dequantise(), layer.weight) < 0.12


def theirs(folder):
    """In training mode: in the other, bitsandbytes rounds to bf16 on CPUs that multiply it."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", quantization_config=settings
    )
    return model.train()


def logits(model):
    return model(input_ids=IDS, position_ids=LAYOUT.position_ids(), use_cache=False, layout=LAYOUT).logits


def test_a_base_computes_what_transformers_with_bitsandbytes_computes(base):
    mine = load_base(base, precision="fp32", quantisation="nf4")
    prove(mine)
    with torch.no_grad():
        torch.testing.assert_close(logits(mine), theirs(base)(IDS, use_cache=False).logits, atol=1e-5, rtol=1e-5)
        assert distance(logits(mine), logits(load_base(base, precision="fp32"))) > 0.01


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_beside_it_equals_pefts(base, dora):
    mine = load_base(base, precision="fp32", quantisation="nf4")
    layers = add_lora(mine, AdapterConfig(kind="qlora", rank=4, alpha=6, dora=dora), seed=0)
    fill(layers)
    settings = LoraConfig(r=4, lora_alpha=6, use_dora=dora, target_modules="all-linear", task_type="CAUSAL_LM")
    reference = get_peft_model(theirs(base), settings).train()
    wrapped = {name: m for name, m in reference.base_model.model.named_modules() if hasattr(m, "lora_A")}
    assert set(wrapped) == set(layers)
    with torch.no_grad():
        for path, module in wrapped.items():
            module.lora_A.default.weight.copy_(layers[path].a)
            module.lora_B.default.weight.copy_(layers[path].b)
            if dora:
                module.lora_magnitude_vector.default.weight.copy_(layers[path].magnitude)
    ours, expected = logits(mine), reference(input_ids=IDS, use_cache=False).logits
    assert distance(ours, expected) < 2e-6
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    (ours * weights).sum().backward()
    (expected * weights).sum().backward()
    for path, module in wrapped.items():
        assert distance(layers[path].a.grad, module.lora_A.default.weight.grad) < 2e-5
        assert distance(layers[path].b.grad, module.lora_B.default.weight.grad) < 2e-5
        if dora:
            assert distance(layers[path].magnitude.grad, module.lora_magnitude_vector.default.weight.grad) < 2e-5


@pytest.mark.parametrize("bias", [True, False])
def test_nothing_whole_is_kept_for_the_backward_pass(bias):
    layer = Nf4Linear(linear(64, 48, bias=bias))
    kept = []
    x = torch.randn(5, 3, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = layer(x)
    assert kept == []
    y.square().sum().backward()
    mine, x.grad = x.grad, None
    nn.functional.linear(x, layer.dequantise(), layer.bias).square().sum().backward()
    assert torch.equal(mine, x.grad)
    both = LoraLinear(layer, AdapterConfig(rank=4), torch.Generator().manual_seed(0))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        both(x)
    assert not any(tensor.shape == (48, 64) for tensor in kept)


def test_casting_a_model_leaves_the_weights_whole():
    layer = Nf4Linear(linear(576, 64))
    before = layer.dequantise()
    layer.to(torch.bfloat16)
    assert torch.equal(layer.dequantise(), before)


def test_memory_is_a_quarter_and_all_of_it_is_counted(base):
    layer = Nf4Linear(linear(576, 1536, dtype=torch.bfloat16))
    assert layer.bytes / (2 * 576 * 1536) < 0.2585
    model, plain = load_base(base, precision="bf16", quantisation="nf4"), load_base(base, precision="bf16")
    assert weight_count(model) == weight_count(plain) == sum(p.numel() for p in plain.parameters())
    held = [
        *model.parameters(),
        *(buffer for m in model.modules() if isinstance(m, Nf4Linear) for buffer in m.buffers()),
    ]
    assert weight_bytes(model) == sum(t.numel() * t.element_size() for t in held)
    assert weight_bytes(plain) == 2 * weight_count(plain)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_head_embeddings_norms_and_experts_stay(tmp_path):
    folder = make_tiny_base(tmp_path / "base", architecture="mixtral")
    model = load_base(folder, precision="fp32")
    before = hidden_states(model, IDS, LAYOUT)
    assert quantise(model) == 8
    packed = [path for path, module in model.named_modules() if isinstance(module, Nf4Linear)]
    assert {path.rpartition(".")[2] for path in packed} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert type(model.get_output_embeddings()) is nn.Linear
    assert 0 < distance(hidden_states(model, IDS, LAYOUT), before) < 0.5
    layers = add_lora(model, AdapterConfig(kind="qlora", rank=4), seed=0)  # they receive updates all the same
    experts = {path: layer for path, layer in layers.items() if "experts" in path}
    assert {layer.base.weight.dtype for layer in experts.values()} == {torch.float32}
    hidden_states(model, IDS, LAYOUT).sum().backward()
    assert all(layer.b.grad.any() for layer in layers.values())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_the_files_are_let_go(tmp_path):
    folder = make_tiny_base(tmp_path / "base", architecture="llama")
    model = load_base(folder, precision="fp32", quantisation="nf4")
    assert str(folder) not in Path("/proc/self/maps").read_text()
    assert torch.isfinite(hidden_states(model, IDS, LAYOUT)).all()


def test_merging_is_refused(base):
    model = load_base(base, precision="fp32", quantisation="nf4")
    layers = add_lora(model, AdapterConfig(kind="qlora", rank=4), seed=0)
    with pytest.raises(ModelError) as caught:
        next(iter(layers.values())).merged()
    (fault,) = caught.value.faults
    assert fault.code == "TW-BASE-039"
    assert "bf16" in fault.cure


def test_without_bitsandbytes_the_extra_is_named_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr(quantisation, "_functional", quantisation._functional.__wrapped__)
    with pytest.raises(MachineError) as caught:
        load_base(tmp_path / "nothing", precision="fp32", quantisation="nf4")
    (fault,) = caught.value.faults
    assert (fault.code, fault.place) == ("TW-ENV-005", "training.adapter.kind")
    assert "tuneward[qlora]" in fault.cure


def test_bitsandbytes_gets_no_chance_to_fetch_code(tmp_path):
    """It would import ``kernels`` and ask a hub; a package of that name is there, and is not asked."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('asked')")
    code = (
        "from tuneward.modeling.quantisation import import_bitsandbytes; import sys;"
        "import_bitsandbytes(); print('kernels' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("False", "", 0)
