"""A merged copy: what plain transformers loads says what the adapter says, for every architecture; ties survive."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import AutoConfig

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_bank import AdapterBank
from tuneward.modeling.adapter_files import AdapterWeights
from tuneward.modeling.base_model import OutputHead, hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import add_lora, weights_of
from tuneward.modeling.merge import Merged
from tuneward.modeling.packed import PackedDocuments

IDS = torch.arange(3, 30).unsqueeze(0)


def random_adapter(base: Path, *, size: float = 0.2, seed: int = 5, **kind: bool) -> AdapterWeights:
    """An adapter as after a training: B is not zero and, with DoRA, magnitudes have left their start."""
    config = AdapterConfig(rank=4, alpha=12, **kind)
    layers = add_lora(load_base(base, precision="fp32"), config, seed=0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.copy_(torch.randn(layer.b.shape, generator=generator) * size)
            if layer.magnitude is not None:
                layer.magnitude *= 1 + 0.1 * torch.randn(layer.magnitude.shape, generator=generator)
    return weights_of(layers, config)


def through_adapter(base: Path, weights: AdapterWeights) -> torch.Tensor:
    model = load_base(base, precision="fp32")
    bank = AdapterBank(model)
    bank.assign([(bank.load(weights), IDS.shape[1])])
    with torch.no_grad():
        return OutputHead.of(model).logits(hidden_states(model, IDS, PackedDocuments((IDS.shape[1],)))[0])


def plain(folder: Path, **options) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_plain_transformers_loads_it_and_says_what_the_adapter_says(architecture, tmp_path):
    base = make_tiny_base(tmp_path / "base", architecture=architecture)
    weights = random_adapter(base)
    merged, into = Merged(base, weights), tmp_path / "merged"
    into.mkdir()
    merged.save(into)
    assert not merged.whole
    with torch.no_grad():
        theirs = plain(into)(input_ids=IDS, use_cache=False).logits[0]
        untouched = plain(base)(input_ids=IDS, use_cache=False).logits[0]
    torch.testing.assert_close(theirs, through_adapter(base, weights), atol=5e-4, rtol=5e-4)
    assert (theirs - untouched).abs().max() > 0.05
    before, after = load_file(base / "model.safetensors"), load_file(into / "model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {k: (v.shape, v.dtype) for k, v in after.items()}
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key for key in changed if "experts" not in key} == {
        f"{path}.weight" for path, (a, _) in weights.pairs.items() if a.ndim == 2
    }
    assert {key for key in before if "experts" in key} <= changed
    assert {f.name for f in into.iterdir()} == {f.name for f in base.iterdir()}


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize("kind", [{"rslora": True}, {"dora": True}, {"rslora": True, "dora": True}], ids=str)
def test_every_kind_of_adapter_is_merged_as_it_is_served(architecture, kind, tmp_path):
    base, into = make_tiny_base(tmp_path / "base", architecture=architecture), tmp_path / "merged"
    weights = random_adapter(base, **kind)
    into.mkdir()
    Merged(base, weights).save(into)
    with torch.no_grad():
        theirs = plain(into)(input_ids=IDS, use_cache=False).logits[0]
    torch.testing.assert_close(theirs, through_adapter(base, weights), atol=5e-4, rtol=5e-4)


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_tied_weights_stay_tied_through_save_merge_and_reload(architecture, tmp_path):
    base, into = make_tiny_base(tmp_path / "base", architecture=architecture), tmp_path / "merged"
    into.mkdir()
    Merged(base, random_adapter(base)).save(into)
    model = plain(into)
    assert json.loads((into / "config.json").read_text())["tie_word_embeddings"] is True
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(into / "model.safetensors")
    model.save_pretrained(tmp_path / "again")
    again = plain(tmp_path / "again")
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, again(input_ids=IDS).logits)


def test_an_untied_head_stays_its_own(tmp_path):
    base, into = make_tiny_base(tmp_path / "base", tie_word_embeddings=False), tmp_path / "merged"
    into.mkdir()
    Merged(base, random_adapter(base)).save(into)
    model = plain(into)
    assert not torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)


def test_it_is_computed_in_fp32_and_rounded_once(tmp_path):
    base, into = make_tiny_base(tmp_path / "base"), tmp_path / "merged"
    weights = random_adapter(base)
    model = plain(base, dtype=torch.bfloat16)
    model.save_pretrained(base)
    into.mkdir()
    Merged(base, weights).save(into)
    written = load_file(into / "model.safetensors")
    stored = load_file(base / "model.safetensors")
    for path, (a, b) in weights.pairs.items():
        exact = stored[f"{path}.weight"].double() + 3.0 * (b.double() @ a.double())
        assert written[f"{path}.weight"].dtype == torch.bfloat16
        error = (written[f"{path}.weight"].double() - exact).abs()
        assert bool((error <= exact.abs() * 2.0**-8 * 1.001 + 1e-7).all()), "half a unit of bf16, and no more"


def test_another_type_may_be_asked_for(tmp_path):
    base, into = make_tiny_base(tmp_path / "base"), tmp_path / "merged"
    into.mkdir()
    Merged(base, random_adapter(base)).save(into, kept="bf16")
    assert {t.dtype for t in load_file(into / "model.safetensors").values()} == {torch.bfloat16}
    assert plain(into).dtype == torch.bfloat16


def test_shards_are_written_one_by_one_with_their_index(tmp_path):
    base, into = make_tiny_base(tmp_path / "base"), tmp_path / "merged"
    whole = plain(base)
    (base / "model.safetensors").unlink()
    whole.save_pretrained(base, max_shard_size="100KB")
    assert len(list(base.glob("model-*.safetensors"))) > 2
    weights = random_adapter(base)
    into.mkdir()
    Merged(base, weights).save(into, kept="f16")
    index = json.loads((into / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(
        t.nbytes for f in into.glob("*.safetensors") for t in load_file(f).values()
    )
    with torch.no_grad():
        theirs = plain(into, dtype=torch.float32)(input_ids=IDS).logits[0]
    assert (theirs - through_adapter(base, weights)).abs().max() < 0.05


def test_weights_that_are_stored_joined_are_merged_all_the_same(tmp_path):
    settings = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 304}
    config = AutoConfig.for_model("hrm_text", **settings, pad_token_id=0, bos_token_id=0, eos_token_id=2)
    base, into = make_tiny_base(tmp_path / "base"), tmp_path / "merged"
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(base)
    model = plain(base)
    path = next(p for p, m in model.named_modules() if p.endswith("mlp.gate_proj"))
    assert f"{path}.weight" not in load_file(base / "model.safetensors")
    rows, width = model.get_submodule(path).weight.shape
    weights = AdapterWeights(2, 2.0, {path: (torch.randn(2, width), torch.randn(rows, 2))})
    merged = Merged(base, weights)
    assert merged.whole
    into.mkdir()
    merged.save(into)
    a, b = weights.pairs[path]
    expected = model.get_submodule(path).weight + b @ a
    torch.testing.assert_close(plain(into).get_submodule(path).weight, expected)


def test_a_quantised_base_is_refused_with_a_cure(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    weights = random_adapter(base)
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        Merged(base, weights)
    (fault,) = caught.value.faults
    assert (fault.code, "bitsandbytes" in fault.place, "unquantised" in fault.cure) == ("TW-BASE-039", True, True)


def test_another_models_adapter_and_a_shared_weight_are_refused(tmp_path):
    base = make_tiny_base(tmp_path / "base")
    other = make_tiny_base(tmp_path / "other", hidden_size=32, num_hidden_layers=1)
    with pytest.raises(ModelError) as caught:
        Merged(other, random_adapter(base))
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-036"}
    shared = AdapterWeights(2, 2.0, {"model.embed_tokens": (torch.ones(2, 64), torch.ones(304, 2))})
    with pytest.raises(ModelError, match="share this weight"):
        Merged(base, shared)
