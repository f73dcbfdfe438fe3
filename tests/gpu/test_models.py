"""What a model computes on a CUDA device: packed documents, adapters, four bits."""

import bitsandbytes.functional
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from tests.modeling.test_lora import distance, fill, pefts
from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.modeling.base_model import hidden_states, load_base, prove
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.experts import stacks_of
from tuneward.modeling.fused import fuse
from tuneward.modeling.lora import ExpertUpdate, LoraExperts, add_lora
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.quantisation import Nf4Linear

LENGTHS = (21, 1, 14, 5)
VARIANTS = [{}, {"rslora": True}, {"dora": True}]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return lambda name: (
        make_tiny_base(folder / name, architecture=name) if not (folder / name).exists() else folder / name
    )


def ids_of(tokens, device, *, seed=1):
    return torch.randint(0, 300, (1, tokens), generator=torch.Generator().manual_seed(seed)).to(device)


def logits(model, ids, layout):
    return model(input_ids=ids, position_ids=layout.position_ids(ids.device), use_cache=False, layout=layout).logits


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_packed_documents_equal_transformers_one_by_one(bases, architecture, device):
    """With gradients, on the fused kernels and, where there is a window or a softcap, block by block."""
    ours = load_base(bases(architecture), precision="fp32", device=device).requires_grad_(True)
    theirs = AutoModelForCausalLM.from_pretrained(bases(architecture), dtype=torch.float32, attn_implementation="eager")
    theirs.to(device)
    ids, layout = ids_of(sum(LENGTHS), device), PackedDocuments(LENGTHS)
    packed = logits(ours, ids, layout)
    alone = torch.cat([theirs(input_ids=part, use_cache=False).logits for part in ids.split(LENGTHS, dim=1)], dim=1)
    assert distance(packed, alone) < 1e-5
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(2)).to(device)
    (packed * weights).sum().backward()
    (alone * weights).sum().backward()
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert len(expected) > 8
    for name, parameter in ours.named_parameters():
        if name in expected and float(expected[name].abs().max()) > 0:
            assert distance(parameter.grad, expected[name]) < 1e-4, name


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_shared_prompt_equals_two_whole_sequences(bases, architecture, precision, device):
    model = load_base(bases(architecture), precision=precision, device=device)
    prompt, first, second = (ids_of(tokens, device, seed=tokens) for tokens in (23, 9, 14))
    together = hidden_states(
        model, torch.cat([prompt, first, second], dim=1), PackedDocuments((23, 9, 14), (None, 0, 0))
    )
    apart = [
        hidden_states(model, torch.cat([prompt, answer], dim=1), PackedDocuments((23 + answer.shape[1],)))
        for answer in (first, second)
    ]
    expected = torch.cat([apart[0], apart[1][:, 23:]], dim=1)
    assert distance(together, expected) < (1e-5 if precision == "fp32" else 0.03)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_proof_before_a_run_holds(bases, architecture, device):
    for precision in ("fp32", "bf16"):
        model = load_base(bases(architecture), precision=precision, device=device)
        fuse(model)
        prove(model)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "+".join(variant) or "plain")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_and_gradients_of_an_adapter_equal_pefts(bases, variant, precision, device):
    config = AdapterConfig(rank=4, alpha=6, **variant)
    ours = load_base(bases("llama"), precision=precision)
    layers = add_lora(ours, config, seed=0)
    fill(layers)
    reference, wrapped = pefts(bases("llama"), layers, config, dtype=ours.dtype)
    ours.to(device)
    reference.to(device)
    ids, layout = ids_of(19, device), PackedDocuments((19,))
    mine, theirs = logits(ours, ids, layout), reference(input_ids=ids, use_cache=False).logits
    near = 1e-5 if precision == "fp32" else 0.03
    assert distance(mine, theirs) < near
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2)).to(device)
    (mine.float() * weights).sum().backward()
    (theirs.float() * weights).sum().backward()
    for path, module in wrapped.items():
        assert distance(layers[path].a.grad, module.lora_A.default.weight.grad) < 5 * near
        assert distance(layers[path].b.grad, module.lora_B.default.weight.grad) < 5 * near


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("rank", [4, 8])  # rows of 8 and 16 bytes in bf16: expert by expert, and all in one call
def test_experts_are_computed_as_on_a_cpu(rank, precision, device):
    """Given tokens, because a router may send some elsewhere after rounding; one expert has none."""
    config = MixtralConfig(hidden_size=64, intermediate_size=96, num_local_experts=4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 64, generator=generator)
    index, weights = torch.randint(0, 3, (40, 2), generator=generator), torch.rand(40, 2, generator=generator)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    results = []
    for place, kind in (("cpu", torch.float32), (device, dtype)):
        experts = MixtralExperts(config).requires_grad_(False)
        start = torch.Generator().manual_seed(1)
        for parameter in experts.parameters():
            nn.init.normal_(parameter, std=0.1, generator=start)
        experts.to(device=place, dtype=kind)
        updates = {
            name: ExpertUpdate(stack, AdapterConfig(rank=rank), start) for name, stack in stacks_of(experts).items()
        }
        fill(updates)
        given = x.clone().to(device=place, dtype=kind).requires_grad_()
        y = LoraExperts(experts, updates)(given, index.to(place), weights.to(device=place, dtype=kind))
        y.float().square().sum().backward()
        factors = [factor for update in updates.values() for factor in (update.a, update.b)]
        assert not any(factor.grad[3].any() for factor in factors)
        results.append([y, given.grad, *(factor.grad for factor in factors)])
    for cpu, there in zip(*results, strict=True):
        assert distance(there.cpu(), cpu) < (1e-5 if precision == "fp32" else 0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("width", "height"), [(576, 1536), (96, 50), (64, 64)])
def test_four_bits_are_those_of_bitsandbytes(width, height, dtype, device):
    torch.manual_seed(width)
    layer = nn.Linear(width, height, bias=False, dtype=dtype).requires_grad_(False).to(device)
    packed, state = bitsandbytes.functional.quantize_4bit(
        layer.weight, blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    mine = Nf4Linear(layer)
    assert torch.equal(mine.packed, packed)
    assert torch.equal(mine.dequantise(), bitsandbytes.functional.dequantize_4bit(packed, state))
    x = torch.randn(7, width, dtype=dtype, device=device, requires_grad=True)
    again = x.detach().clone().requires_grad_()
    mine(x).float().square().sum().backward()
    nn.functional.linear(again, mine.dequantise()).float().square().sum().backward()
    assert distance(x.grad, again.grad) < (1e-5 if dtype == torch.float32 else 0.01)


def test_a_base_in_four_bits_equals_transformers_with_bitsandbytes(bases, device):
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    mine = load_base(bases("llama"), precision="fp32", device=device, quantisation="nf4")
    theirs = AutoModelForCausalLM.from_pretrained(
        bases("llama"), dtype=torch.float32, quantization_config=settings, device_map=device
    )
    ids, layout = ids_of(19, device), PackedDocuments((19,))
    with torch.no_grad():
        assert distance(logits(mine, ids, layout), theirs.train()(ids, use_cache=False).logits) < 1e-4
