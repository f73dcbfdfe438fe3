import gc
import weakref

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.modeling.test_generate import prompts
from tests.modeling.test_lora import distance
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights, load_adapter, save_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.generate import Decoder, generate
from tuneward.modeling.lora import add_lora, set_weights
from tuneward.modeling.low_rank import merged_weight
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.targets import find_targets


def random_weights(model, *, seed, rank=4, strength=0.3, only="", **kind):
    """Numbers for every target whose path ends with ``only``; ``kind`` says ``rslora`` and ``dora``."""
    config = AdapterConfig(rank=rank, alpha=2.0 * rank, **kind)
    generator = torch.Generator().manual_seed(seed)
    pairs, magnitudes = {}, {}
    for path, layer in find_targets(model, config):
        if path.endswith(only):
            a = torch.randn(rank, layer.in_features, generator=generator) / 8
            pairs[path] = a, torch.randn(layer.out_features, rank, generator=generator) * strength
            if config.dora:
                spread = 1 + 0.3 * torch.randn(layer.out_features, generator=generator)
                magnitudes[path] = layer.weight.float().norm(dim=1) * spread
    return AdapterWeights(rank, config.alpha, pairs, rslora=config.rslora, magnitudes=magnitudes)


KINDS = [{}, {"rslora": True}, {"dora": True}, {"rslora": True, "dora": True}]


@pytest.fixture
def folder(tmp_path):
    return make_tiny_base(tmp_path / "base")


@pytest.fixture
def model(folder):
    return load_base(folder, precision="fp32")


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_pefts(model, folder, tmp_path, kind):
    save_adapter(random_weights(model, seed=1, **kind), tmp_path / "adapter", base_name="base")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "adapter").eval()
    bank = AdapterBank(model)
    adapter = bank.load(load_adapter(tmp_path / "adapter"))
    for prompt in prompts():
        decoder = Decoder(model, bank=bank)
        decoder.join(prompt, adapter=adapter)
        _, logits = decoder.step()
        expected = theirs(torch.tensor([prompt])).logits[0, -1]
        torch.testing.assert_close(logits[0], expected, rtol=2e-4, atol=2e-4)
        bare = Decoder(model, bank=bank)
        bare.join(prompt)
        assert not torch.allclose(bare.step()[1][0], expected, atol=0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_numbers_as_in_training(folder, precision, kind):
    trained = load_base(folder, precision=precision)
    weights = random_weights(trained, seed=2, **kind)
    set_weights(add_lora(trained, AdapterConfig(rank=4, alpha=8, **kind), seed=0), weights)
    served = load_base(folder, precision=precision)
    bank = AdapterBank(served)
    bank.assign([(bank.load(weights), 40)])
    ids, layout = torch.tensor([prompts()[3]]), PackedDocuments((40,))
    with torch.no_grad():
        arguments = {"input_ids": ids, "use_cache": False, "layout": layout}
        assert torch.equal(served(**arguments).logits, trained(**arguments).logits)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-6), ("bf16", 0.02)])
def test_biases_do_not_grow_with_the_rows_of_a_dora(precision, tolerance, tmp_path):
    """The bank gets a product with its bias already in, which in bf16 has swallowed some of the product."""
    base = load_base(make_tiny_base(tmp_path / "base", architecture="qwen2"), precision=precision)
    layer = base.get_submodule("model.layers.0.self_attn.q_proj")
    layer.bias.data.fill_(30.0)
    weights = random_weights(base, seed=3, only="layers.0.self_attn.q_proj", dora=True)
    (path, (a, b)), magnitude = next(iter(weights.pairs.items())), next(iter(weights.magnitudes.values()))
    x = torch.randn(1, 50, 64, generator=torch.Generator().manual_seed(4)).to(layer.weight.dtype)
    whole = merged_weight(layer.weight.float(), a, b, scale=weights.scale, magnitude=magnitude)
    exact = torch.nn.functional.linear(x.float(), whole, layer.bias.float())
    bank = AdapterBank(base)
    adapter = bank.load(weights)
    bank.assign([(adapter, 50)])
    together = layer(x)
    assert distance(together, exact) < tolerance
    bank.assign([(adapter, 20), (None, 10), (adapter, 20)])  # scattered tokens take another way
    scattered = layer(x)
    bank.assign([])
    bare = layer(x)
    assert torch.equal(scattered[:, 20:30], bare[:, 20:30])
    assert distance(scattered[:, :20], together[:, :20]) < tolerance / 10
    bank.unload(adapter)
    set_weights(add_lora(base, AdapterConfig(rank=4, alpha=8, dora=True, targets=(path,)), seed=0), weights)
    trained = base.get_submodule(path)(x)
    assert distance(together, trained) < tolerance


def test_many_adapters_in_one_batch_answer_as_each_alone(model):
    bank = AdapterBank(model)
    loaded = [
        None,
        *(bank.load(random_weights(model, seed=seed, only=o)) for seed, o in ((1, ""), (2, "_proj"), (3, "q_proj"))),
    ]
    loaded[2] = bank.load(random_weights(model, seed=4, dora=True))
    asked = prompts()
    chosen = [loaded[number % 4] for number in range(len(asked))]
    separate = [
        generate(model, [prompt], max_tokens=30, bank=bank, adapters=[adapter])[0]
        for prompt, adapter in zip(asked, chosen, strict=True)
    ]
    assert generate(model, asked, max_tokens=30, bank=bank, adapters=chosen, max_rows=5) == separate
    bare = generate(model, asked, max_tokens=30)
    assert [a == b for a, b in zip(bare, separate, strict=True)] == [adapter is None for adapter in chosen]


def test_a_beginning_is_not_shared_across_adapters(model):
    bank = AdapterBank(model)
    adapter = bank.load(random_weights(model, seed=1))
    prompt = prompts(9, [120])[0]
    bare, tuned = (
        generate(model, [prompt], max_tokens=20),
        generate(model, [prompt], max_tokens=20, bank=bank, adapters=[adapter]),
    )
    both = generate(model, [prompt, prompt], max_tokens=20, bank=bank, adapters=[None, adapter])
    assert both == [*bare, *tuned]


def test_unloading_frees_and_leaves_the_base_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bare = generate(model, prompts(), max_tokens=10)
    bank = AdapterBank(model)
    first, second = (
        bank.load(random_weights(model, seed=1, dora=True)),
        bank.load(random_weights(model, seed=2, only="q_proj")),
    )
    tensors = [weakref.ref(tensor) for pair in first.pairs.values() for tensor in pair]
    tensors += [weakref.ref(tensor) for tensor in first.more.values()]
    assert first.bytes == sum(ref().numel() * ref().element_size() for ref in tensors)
    generate(model, prompts(), max_tokens=3, bank=bank, adapters=[first] * len(prompts()))
    bank.unload(first)
    gc.collect()
    assert not any(ref() is not None for ref in tensors)
    hooked = [path for path, module in model.named_modules() if module._forward_hooks]
    assert hooked == sorted(second.pairs)
    bank.unload(second)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert generate(model, prompts(), max_tokens=10, bank=bank) == bare


def test_an_adapter_that_does_not_fit_is_refused_with_every_fault(model):
    good = random_weights(model, seed=1, only="q_proj")
    path, (a, b) = next(iter(good.pairs.items()))
    wrong = AdapterWeights(4, 8.0, {path: (a[:, :-1], b), "model.layers.9.self_attn.q_proj": (a, b)})
    bank = AdapterBank(model)
    with pytest.raises(ModelError) as caught:
        bank.load(wrong)
    assert {fault.place for fault in caught.value.faults} == set(wrong.pairs)
    assert not any(module._forward_hooks for module in model.modules())
