"""Updates of a mixture's experts: equal to PEFT's in numbers and files, served row by row, merged."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torch.func import functional_call
from transformers import AutoModelForCausalLM
from transformers.models.gpt_oss.configuration_gpt_oss import GptOssConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts

from tests.modeling.test_adapter_bank import random_weights
from tests.modeling.test_generate import prompts
from tests.modeling.test_lora import distance, fill
from tests.tiny import MIXTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights, check_fits, load_adapter, save_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.experts import Groups, experts_product, grouped, grouped_outer, stacks_of
from tuneward.modeling.generate import generate
from tuneward.modeling.lora import ExpertUpdate, LoraExperts, add_lora, set_weights, unreached, weights_of
from tuneward.modeling.merge import Merged
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.stored_experts import StoredExperts
from tuneward.modeling.targets import find_experts

KINDS = ["qwen3_moe", "mixtral", *MIXTURES]
IDS = torch.randint(0, 300, (1, 19), generator=torch.Generator().manual_seed(1))
LAYOUT = PackedDocuments((19,))
CONFIG = AdapterConfig(rank=4, alpha=6)
#: PEFT 0.21 takes plain and shared layers' ``gate_proj`` for experts of an older form, and drops them.
FOR_PEFT = dict.fromkeys(
    ("glm4_moe", "qwen2_moe"), ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "experts.down_proj")
)


@pytest.fixture(scope="module", params=KINDS)
def mixture(request, tmp_path_factory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp(request.param), architecture=request.param)


def for_peft(folder: Path, **settings) -> AdapterConfig:
    """Settings that both understand for this base."""
    name = json.loads((folder / "config.json").read_text())["model_type"]
    targets = {"targets": FOR_PEFT[name]} if name in FOR_PEFT else {}
    return AdapterConfig(**{"rank": 4, "alpha": 6} | targets | settings)


def plain(folder: Path, **options):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options).eval()


def adapted(folder: Path, config: AdapterConfig = CONFIG, precision: str = "fp32"):
    model = load_base(folder, precision=precision)
    layers = add_lora(model, config, seed=0)
    fill(layers)
    return model, layers


def logits(model) -> torch.Tensor:
    return model(input_ids=IDS, position_ids=LAYOUT.position_ids(), use_cache=False, layout=LAYOUT).logits


def pefts(folder: Path, layers, config: AdapterConfig, *, dtype=torch.float32):
    """PEFT's own model with our numbers in it, and the parameters of each of our layers in it."""
    experts = [path for path, layer in layers.items() if layer.a.ndim == 3]
    theirs = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        use_rslora=config.rslora,
        target_modules=[path for path in layers if path not in experts],
        target_parameters=experts,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(plain(folder, dtype=dtype), theirs).eval()
    found = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A"):
            path = name.removesuffix(".base_layer")
            path += f".{module.parameter_name}" if hasattr(module, "parameter_name") else ""
            found[path] = (module.lora_A.default.weight, module.lora_B.default.weight)
    assert set(found) == set(layers)
    with torch.no_grad():
        for path, (a, b) in found.items():
            layer = layers[path]
            a.copy_(layer.a.reshape(a.shape))
            b.copy_(layer.b if layer.b.ndim == 2 else layer.b.permute(1, 2, 0).reshape(b.shape))
    return model, found


@pytest.mark.parametrize(
    "settings",
    [{}, {"rslora": True}, {"targets": ("experts.down_proj",)}, {"targets": ("experts.gate_up_proj", "q_proj")}],
)
def test_logits_and_gradients_equal_pefts(mixture, settings):
    config = for_peft(mixture, **settings)
    model, layers = adapted(mixture, config)
    reference, found = pefts(mixture, layers, config)
    mine, theirs = logits(model), reference(input_ids=IDS, use_cache=False).logits
    assert distance(mine, theirs) < 1e-6
    assert distance(mine, plain(mixture)(input_ids=IDS, use_cache=False).logits) > 0.01
    weights = torch.randn(mine.shape, generator=torch.Generator().manual_seed(2))
    (mine * weights).sum().backward()
    (theirs * weights).sum().backward()
    for path, (a, b) in found.items():
        layer = layers[path]
        d_b = layer.b.grad if layer.b.ndim == 2 else layer.b.grad.permute(1, 2, 0).reshape(b.shape)
        assert distance(layer.a.grad.reshape(a.shape), a.grad) < 1e-5
        assert distance(d_b, b.grad) < 1e-5
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {f"{path}.{side}" for path in layers for side in "ab"}


def test_bfloat16_is_as_near_to_fp32_as_pefts(mixture):
    """Of one module of experts, whose tokens are given: a model's router may send a token elsewhere after rounding."""
    config = for_peft(mixture)
    exact, _ = adapted(mixture, config)
    model, layers = adapted(mixture, config, precision="bf16")
    reference, _ = pefts(mixture, layers, config, dtype=torch.bfloat16)
    path = next(path for path, module in model.named_modules() if isinstance(module, LoraExperts))
    generator = torch.Generator().manual_seed(0)
    x, index = torch.randn(40, 64, generator=generator), torch.randint(0, 4, (40, 2), generator=generator)
    weights = torch.rand(40, 2, generator=generator)
    wanted = exact.get_submodule(path)(x, index, weights)
    low = x.bfloat16().requires_grad_(), index, weights.bfloat16()
    mine, theirs = model.get_submodule(path)(*low), reference.base_model.model.get_submodule(path)(*low)
    assert distance(mine, wanted) < 1.25 * distance(theirs, wanted) < 0.02
    mine.float().sum().backward()
    assert mine.dtype == low[0].grad.dtype == torch.bfloat16
    assert all(layers[f"{path}.{name}"].b.grad.dtype == torch.float32 for name in ("gate_up_proj", "down_proj"))


def test_start_is_the_base(mixture):
    model = load_base(mixture, precision="fp32")
    before = logits(model)
    add_lora(model, CONFIG, seed=0)
    assert distance(logits(model), before) < 1e-6


@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_slopes_and_no_token_changes_another_expert(transposed):
    """Against autograd through the formula in fp64, with an expert that no row is sent to."""

    class Experts(nn.Module):
        has_gate, has_bias, is_transposed = False, False, transposed

        def _apply_gate(self, x):
            return x

    generator = torch.Generator().manual_seed(0)
    experts = Experts()
    weight = torch.randn(4, 6, 5, generator=generator)
    stored = weight.mT.contiguous() if transposed else weight
    experts.up_proj = nn.Parameter(stored, requires_grad=False)
    experts.down_proj = nn.Parameter(stored.mT.contiguous(), requires_grad=False)
    stack = stacks_of(experts)["up_proj"]
    assert (stack.count, stack.in_features, stack.out_features) == (4, 5, 6)
    ids = torch.tensor([0, 0, 1, 3, 3, 3])
    x = torch.randn(6, 5, generator=generator).requires_grad_()
    a, b = (torch.randn(4, *s, generator=generator).requires_grad_() for s in ((2, 5), (6, 2)))
    y = experts_product(x, stack, Groups(ids, 4), a, b, scale=1.5)
    spread = torch.randn(y.shape, generator=generator)
    (y * spread).sum().backward()
    exact = [tensor.detach().double().requires_grad_() for tensor in (x, a, b)]
    dense = weight.double() + 1.5 * exact[2] @ exact[1]
    expected = torch.einsum("noi,ni->no", dense[ids], exact[0])
    (expected * spread).sum().backward()
    assert distance(y, expected) < 1e-6
    for mine, other in zip((x, a, b), exact, strict=True):
        assert distance(mine.grad, other.grad) < 1e-6
    assert not a.grad[2].any()
    assert not b.grad[2].any()


@pytest.mark.parametrize("names", [("gate_up_proj", "down_proj"), ("down_proj",)])
def test_biases_and_another_gate_are_the_librarys(names):
    """GPT-OSS: stacks that are (in, out), with biases, the gate's columns between those of what it opens."""
    config = GptOssConfig(hidden_size=16, intermediate_size=24, num_local_experts=4)
    config._experts_implementation = "eager"
    experts = GptOssExperts(config).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in experts.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    stacks = stacks_of(experts)
    assert all(stack.transposed and stack.bias is not None for stack in stacks.values())
    updates = {name: ExpertUpdate(stacks[name], CONFIG, generator) for name in names}
    fill(updates)
    ours = LoraExperts(experts, updates)
    x, index = torch.randn(7, 16, generator=generator), torch.randint(0, 4, (7, 2), generator=generator)
    weights = torch.rand(7, 2, generator=generator)
    dense = {name: update.base.weight + update.scale * (update.b @ update.a).mT for name, update in updates.items()}
    assert distance(ours(x, index, weights), functional_call(experts, dense, (x, index, weights))) < 1e-6
    assert ours.hidden_size == 16, "what else the module has can be looked at"
    for name, update in updates.items():
        torch.testing.assert_close(update.merged(), dense[name])


def test_only_the_input_and_narrow_things_are_kept(tmp_path):
    """No sum of weight and update is made: nothing as large as the experts is kept for the backward pass."""
    model, layers = adapted(make_tiny_base(tmp_path / "base", architecture="mixtral"))
    experts = next(module for module in model.modules() if isinstance(module, LoraExperts))
    held = {p.data_ptr() for p in model.parameters()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        experts(torch.randn(3, 64), torch.tensor([[0, 1], [1, 2], [0, 2]]), torch.full((3, 2), 0.5))
    one_expert = 64 * 96
    assert max(t.numel() for t in kept if t.data_ptr() not in held) < one_expert
    assert layers


@pytest.mark.parametrize("sizes", [(8, 16, 24), (16, 8, 8)])
def test_one_call_for_all_experts_is_the_loop(sizes, monkeypatch):
    """What a GPU computes in one call has a CPU form: the same numbers, empty experts included."""
    from tuneward.modeling import experts

    rows, inner, outer = sizes[0], sizes[1], sizes[2]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, inner, generator=generator).bfloat16()
    matrices = torch.randn(5, inner, outer, generator=generator).bfloat16()
    ids = torch.randint(0, 3, (rows,), generator=generator).sort().values
    groups = Groups(ids, 5)
    right = torch.randn(rows, outer, generator=generator).bfloat16()
    loop = grouped(x, matrices, groups), grouped_outer(x, right, groups)
    calls = []
    monkeypatch.setattr(experts, "_at_once", lambda *_: calls.append(1) or True)
    once = grouped(x, matrices, groups), grouped_outer(x, right, groups)
    assert len(calls) == 2
    assert distance(once[0], loop[0]) < 0.01
    assert distance(once[1], loop[1]) < 0.01
    assert not once[1][4].any()
    assert distance(once[0], torch.einsum("ni,nio->no", x.float(), matrices.float()[ids])) < 0.01


@pytest.mark.parametrize("settings", [{"dora": True}, {"dropout": 0.1}, {"dora": True, "dropout": 0.1}])
def test_what_experts_cannot_have_is_refused_and_linear_layers_can(tmp_path, settings):
    folder = make_tiny_base(tmp_path / "base", architecture="mixtral")
    with pytest.raises(ModelError) as caught:
        add_lora(load_base(folder, precision="fp32"), AdapterConfig(rank=4, **settings), seed=0)
    (fault,) = caught.value.faults
    assert fault.code == "TW-BASE-042"
    assert all(name in fault.message for name in settings)
    assert add_lora(load_base(folder, precision="fp32"), AdapterConfig(targets=("q_proj",), **settings), seed=0)


def test_a_shared_experts_gate_and_a_router_by_class_are_left_alone(tmp_path):
    """A gate of one output takes no rank above 1; a router that is a linear layer by class answers with choices."""
    for name, left in (("qwen2_moe", "shared_expert_gate.weight"), ("phimoe", "router.weight")):
        model = load_base(make_tiny_base(tmp_path / name, architecture=name), precision="fp32")
        missed = unreached(model)
        assert any(path.endswith(left) for path in missed.weights)
        layers = add_lora(model, CONFIG, seed=0)
        assert not any(path.endswith(left.removesuffix(".weight")) for path in layers)
    gate = AdapterConfig(rank=1, targets=("shared_expert_gate",))
    folder = tmp_path / "qwen2_moe"
    assert len(add_lora(load_base(folder, precision="fp32"), gate, seed=0)) == 2, "named it is one"
    router = "model.layers.0.mlp.router"
    pairs = {router: (torch.zeros(2, 64), torch.zeros(4, 2))}
    (fault,) = check_fits(AdapterWeights(2, 2.0, pairs), load_base(tmp_path / "phimoe", precision="fp32"))
    assert (fault.code, fault.place) == ("TW-BASE-036", router)


def test_a_rank_above_an_experts_size_is_refused(tmp_path):
    folder = make_tiny_base(tmp_path / "base", architecture="qwen3_moe")  # its experts are 32 wide
    with pytest.raises(ModelError) as caught:
        add_lora(load_base(folder, precision="fp32"), AdapterConfig(rank=33, targets=("experts.down_proj",)), seed=0)
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-034"}


def test_the_folder_is_pefts(mixture, tmp_path):
    """PEFT computes from our folder what we computed; we read its own folder as it was written."""
    config = for_peft(mixture)
    model, layers = adapted(mixture, config)
    weights = weights_of(layers, config)
    save_adapter(weights, tmp_path / "ours", base_name="tiny")
    theirs = PeftModel.from_pretrained(plain(mixture), tmp_path / "ours").eval()
    assert distance(logits(model), theirs(input_ids=IDS, use_cache=False).logits) < 1e-6
    pefts(mixture, layers, config)[0].save_pretrained(tmp_path / "theirs")
    for folder in ("ours", "theirs"):
        again = load_adapter(tmp_path / folder)
        assert again.pairs.keys() == weights.pairs.keys()
        assert all(
            torch.equal(mine, other)
            for path, pair in weights.pairs.items()
            for mine, other in zip(pair, again.pairs[path], strict=True)
        )
    ours, written = (load_file(tmp_path / f / "adapter_model.safetensors") for f in ("ours", "theirs"))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in written.items()}


def test_ends_of_names_are_read_as_peft_reads_them(tmp_path):
    folder = make_tiny_base(tmp_path / "base", architecture="glm4_moe")
    _, layers = adapted(folder)
    save_adapter(weights_of(layers, CONFIG), tmp_path / "adapter", base_name="tiny")
    file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"target_parameters": ["down_proj", "experts.gate_up_proj"]}))
    assert load_adapter(tmp_path / "adapter").pairs.keys() == layers.keys()


@pytest.mark.parametrize("break_it", ["router", "missing", "rows", "nan", "scalar", "rank"])
def test_damaged_or_other_updates_are_refused(break_it, tmp_path):
    folder = make_tiny_base(tmp_path / "base", architecture="mixtral")
    save_adapter(weights_of(adapted(folder)[1], CONFIG), tmp_path / "adapter", base_name="tiny")
    config_file, tensor_file = (tmp_path / "adapter" / f"adapter_{n}" for n in ("config.json", "model.safetensors"))
    config, tensors = json.loads(config_file.read_text()), load_file(tensor_file)
    key = next(key for key in tensors if "experts" in key and "lora_A" in key)
    if break_it == "router":
        config["target_parameters"].append("mlp.gate.weight")
    elif break_it == "missing":
        del tensors[key]
    elif break_it == "rows":
        tensors[key] = tensors[key][:-1].contiguous()
    elif break_it == "scalar":
        config["target_parameters"] = ["gate_up_proj", "down_proj"]
        tensors[key] = torch.zeros(())
    elif break_it == "rank":
        config["r"] = True
    else:
        tensors[key] = tensors[key] * float("nan")
    config_file.write_text(json.dumps(config))
    save_file(tensors, tensor_file)
    with pytest.raises(ModelError) as caught:
        load_adapter(tmp_path / "adapter")
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-035"}


def test_an_adapter_of_another_mixture_does_not_fit(tmp_path):
    base = load_base(make_tiny_base(tmp_path / "base", architecture="mixtral"), precision="fp32")
    other = make_tiny_base(tmp_path / "other", architecture="mixtral", num_local_experts=3)
    weights = weights_of(adapted(other, AdapterConfig(rank=4, targets=("experts.down_proj",)))[1], CONFIG)
    faults = check_fits(weights, base)
    assert {fault.code for fault in faults} == {"TW-BASE-036"}
    assert {fault.place for fault in faults} == set(weights.pairs)
    llama = load_base(make_tiny_base(tmp_path / "llama"), precision="fp32")
    assert len(check_fits(weights, llama)) == len(weights.pairs)


def test_weights_go_over_to_a_model_of_the_same_kind(mixture):
    model, layers = adapted(mixture)
    again = load_base(mixture, precision="fp32")
    set_weights(add_lora(again, CONFIG, seed=7), weights_of(layers, CONFIG))
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_served_is_what_was_trained(mixture, precision):
    model, layers = adapted(mixture, precision=precision)
    served = load_base(mixture, precision=precision)
    bank = AdapterBank(served)
    bank.assign([(bank.load(weights_of(layers, CONFIG)), 19)])
    with torch.no_grad():
        assert torch.equal(logits(served), logits(model))


def experts_too(model, *, seed: int, rank: int = 4) -> AdapterWeights:
    """Numbers for every linear layer and every expert."""
    linear = random_weights(model, seed=seed, rank=rank)
    generator = torch.Generator().manual_seed(seed + 100)
    pairs = dict(linear.pairs)
    for path, stack in find_experts(model, AdapterConfig()).items():
        a = torch.randn(stack.count, rank, stack.in_features, generator=generator) / 8
        pairs[path] = a, torch.randn(stack.count, stack.out_features, rank, generator=generator) * 0.5
    return AdapterWeights(rank, linear.alpha, pairs)


def test_many_adapters_in_one_batch_answer_as_each_alone(mixture):
    model = load_base(mixture, precision="fp32")
    bank = AdapterBank(model)
    some = experts_too(model, seed=3, rank=6)
    only = {path: (a, 3 * b) for path, (a, b) in some.pairs.items() if path.endswith("experts.down_proj")}
    only = AdapterWeights(6, some.alpha, only)
    loaded = [None, bank.load(experts_too(model, seed=1)), bank.load(random_weights(model, seed=2)), bank.load(only)]
    asked = prompts()
    chosen = [loaded[number % 4] for number in range(len(asked))]
    separate = [
        generate(model, [prompt], max_tokens=10, bank=bank, adapters=[adapter])[0]
        for prompt, adapter in zip(asked, chosen, strict=True)
    ]
    assert generate(model, asked, max_tokens=10, bank=bank, adapters=chosen, max_rows=5) == separate
    bare = generate(model, asked, max_tokens=10)
    assert [a == b for a, b in zip(bare, separate, strict=True)] == [adapter is None for adapter in chosen]


def test_scattered_rows_each_pass_their_own(mixture):
    model = load_base(mixture, precision="fp32")
    bank = AdapterBank(model)
    name = next(path for path, module in model.named_modules() if stacks_of(module))
    experts = model.get_submodule(name)
    stacks = {path: stack for path, stack in find_experts(model, AdapterConfig()).items() if path.startswith(name)}
    one, two = (experts_too(model, seed=seed) for seed in (1, 2))
    loaded = [
        bank.load(AdapterWeights(4, 8.0, {path: weights.pairs[path] for path in stacks})) for weights in (one, two)
    ]
    generator = torch.Generator().manual_seed(0)
    x, index = torch.randn(9, 64, generator=generator), torch.randint(0, 4, (9, 2), generator=generator)
    weights = torch.rand(9, 2, generator=generator)
    alone = []
    for adapter in (None, *loaded):
        bank.assign([(adapter, 9)])
        alone.append(experts(x, index, weights))
    first, second = loaded
    bank.assign([(first, 2), (None, 2), (second, 3), (first, 2)])
    mixed = experts(x, index, weights)
    owner = [1, 1, 0, 0, 2, 2, 2, 1, 1]
    torch.testing.assert_close(mixed, torch.stack([alone[o][i] for i, o in enumerate(owner)]), atol=1e-5, rtol=1e-5)
    assert all(distance(alone[n], alone[0]) > 0.01 for n in (1, 2))


def test_unloading_leaves_the_library_as_it_was(mixture):
    model = load_base(mixture, precision="fp32")
    bare = logits(model)
    bank = AdapterBank(model)
    first, second = bank.load(experts_too(model, seed=1)), bank.load(random_weights(model, seed=2))
    bank.assign([(second, 19)])  # leaves the experts alone
    logits(model)
    bank.unload(first)
    assert not any("forward" in vars(module) for module in model.modules())
    bank.unload(second)
    assert torch.equal(logits(model), bare)


def test_a_merged_copy_says_what_the_adapter_says(mixture, tmp_path):
    model, layers = adapted(mixture)
    weights = weights_of(layers, CONFIG)
    merged = Merged(mixture, weights)
    merged.save(tmp_path)
    assert not merged.whole, "one tensor at a time"
    copy = plain(tmp_path)
    assert distance(copy(input_ids=IDS, use_cache=False).logits, logits(model)) < 2e-6
    untouched = dict(plain(mixture).named_parameters())
    changed = {name for name, p in copy.named_parameters() if not torch.equal(p, untouched[name])}
    assert changed == {path if pair[0].ndim == 3 else f"{path}.weight" for path, pair in weights.pairs.items()}
    before, after = (load_file(folder / "model.safetensors") for folder in (mixture, tmp_path))
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}


def test_stacks_that_the_files_hold_otherwise_are_merged_in_the_loaded_model(tmp_path):
    """The two ways write the same."""
    base = make_tiny_base(tmp_path / "base", architecture="mixtral")
    weights = weights_of(adapted(base)[1], CONFIG)
    ways = []
    for way in ("parts", "whole"):
        merged = Merged(base, weights)
        merged.whole = way == "whole"
        (tmp_path / way).mkdir()
        merged.save(tmp_path / way)
        ways.append(load_file(tmp_path / way / "model.safetensors"))
    assert ways[0].keys() == ways[1].keys()
    for key, value in ways[0].items():
        torch.testing.assert_close(value, ways[1][key], atol=1e-6, rtol=1e-6)
    other = StoredExperts(load_base(base, precision="fp32"), weights, dict.fromkeys(ways[0], (1,)))
    assert other.elsewhere == {path for path in weights.pairs if "experts" in path}
    assert not other.paths


def test_merged_weights_equal_pefts(mixture):
    config = for_peft(mixture)
    _, layers = adapted(mixture, config)
    merged = pefts(mixture, layers, config)[0].merge_and_unload()
    for path, layer in layers.items():
        theirs = merged.get_parameter(path if layer.a.ndim == 3 else f"{path}.weight")
        torch.testing.assert_close(layer.merged(), theirs, atol=1e-6, rtol=1e-5)
