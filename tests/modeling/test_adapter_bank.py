import gc
import weakref

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.modeling.test_generate import prompts
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights, load_adapter, save_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.generate import Decoder, generate
from tuneward.modeling.lora import add_lora, find_targets
from tuneward.modeling.packed import PackedDocuments


def random_weights(model, *, seed, rank=4, strength=0.3, only=""):
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        path: (
            torch.randn(rank, layer.in_features, generator=generator) / 8,
            torch.randn(layer.out_features, rank, generator=generator) * strength,
        )
        for path, layer in find_targets(model, AdapterConfig())
        if path.endswith(only)
    }
    return AdapterWeights(rank, 2.0 * rank, pairs)


@pytest.fixture
def folder(tmp_path):
    return make_tiny_base(tmp_path / "base")


@pytest.fixture
def model(folder):
    return load_base(folder, precision="fp32")


def test_logits_equal_pefts(model, folder, tmp_path):
    save_adapter(random_weights(model, seed=1), tmp_path / "adapter", base_name="base")
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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_numbers_as_in_training(folder, precision):
    weights = random_weights(load_base(folder, precision="fp32"), seed=2)
    trained = load_base(folder, precision=precision)
    for path, layer in add_lora(trained, AdapterConfig(rank=4, alpha=8), seed=0).items():
        layer.a.data, layer.b.data = weights.pairs[path]
    served = load_base(folder, precision=precision)
    bank = AdapterBank(served)
    bank.assign([(bank.load(weights), 40)])
    ids, layout = torch.tensor([prompts()[3]]), PackedDocuments((40,))
    with torch.no_grad():
        arguments = {"input_ids": ids, "use_cache": False, "layout": layout}
        assert torch.equal(served(**arguments).logits, trained(**arguments).logits)


def test_many_adapters_in_one_batch_answer_as_each_alone(model):
    bank = AdapterBank(model)
    loaded = [
        None,
        *(bank.load(random_weights(model, seed=seed, only=o)) for seed, o in ((1, ""), (2, "_proj"), (3, "q_proj"))),
    ]
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
    first, second = bank.load(random_weights(model, seed=1)), bank.load(random_weights(model, seed=2, only="q_proj"))
    tensors = [weakref.ref(tensor) for pair in first.pairs.values() for tensor in pair]
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
