import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_files import AdapterWeights, check_fits, load_adapter, save_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments


@pytest.fixture(scope="module", params=["llama", "phi3", "gemma3_text"])
def base(request, tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"), architecture=request.param)


@pytest.fixture
def weights(base):
    layers = add_lora(load_base(base, precision="fp32"), AdapterConfig(rank=4, alpha=12), seed=0)
    generator = torch.Generator().manual_seed(5)
    pairs = {path: (m.a.detach(), torch.randn(m.b.shape, generator=generator) * 0.2) for path, m in layers.items()}
    return AdapterWeights(4, 12.0, pairs)


def test_plain_peft_loads_it_with_equal_logits(base, weights, tmp_path):
    save_adapter(weights, tmp_path / "adapter", base_name="tiny")
    ours = load_base(base, precision="fp32")
    layers = add_lora(ours, AdapterConfig(rank=4, alpha=12), seed=0)
    with torch.no_grad():
        for path, (a, b) in weights.pairs.items():
            layers[path].a.copy_(a)
            layers[path].b.copy_(b)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    ids, layout = torch.arange(12).unsqueeze(0), PackedDocuments((12,))
    untouched = plain(input_ids=ids, use_cache=False).logits
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(input_ids=ids, use_cache=False).logits
    mine = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=2e-5)
    assert (theirs - untouched).abs().max() > 0.01


def test_reload_equals_saved_bit_for_bit(weights, tmp_path):
    save_adapter(weights, tmp_path / "a", base_name="tiny")
    again = load_adapter(tmp_path / "a")
    assert (again.rank, again.alpha, set(again.pairs)) == (weights.rank, weights.alpha, set(weights.pairs))
    for path, (a, b) in weights.pairs.items():
        assert torch.equal(again.pairs[path][0], a)
        assert torch.equal(again.pairs[path][1], b)
    save_adapter(again, tmp_path / "b", base_name="tiny")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_an_update_of_the_output_head_is_refused(base):
    model = load_base(base, precision="fp32")
    rows, width = model.get_output_embeddings().weight.shape
    weights = AdapterWeights(4, 8.0, {"lm_head": (torch.ones(4, width), torch.ones(rows, 4))})
    (fault,) = check_fits(weights, model)
    assert (fault.code, fault.place) == ("TW-BASE-036", "lm_head")


def test_fits_its_own_base_and_no_other(base, weights, tmp_path):
    assert check_fits(weights, load_base(base, precision="fp32")) == []
    other = make_tiny_base(tmp_path / "other", architecture="llama", hidden_size=32, num_hidden_layers=1)
    faults = check_fits(weights, load_base(other, precision="fp32"))
    assert faults
    assert {fault.code for fault in faults} == {"TW-BASE-036"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"alora_invocation_tokens": [1, 2]}, "alora"),
        ({"bias": "all", "use_rslora": True}, "use_rslora"),
        ({"r": 8}, "rank 8"),
        ({"peft_type": "IA3"}, "not a LoRA"),
        ({"r": "4"}, "not a LoRA"),
    ],
)
def test_other_kinds_are_refused(weights, tmp_path, changes, told):
    save_adapter(weights, tmp_path, base_name="tiny")
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ModelError, match=told) as caught:
        load_adapter(tmp_path)
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-035"}


def test_damaged_files_and_wild_numbers_are_refused(weights, tmp_path):
    with pytest.raises(ModelError):
        load_adapter(tmp_path / "nothing")
    save_adapter(weights, tmp_path, base_name="tiny")
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ModelError):
        load_adapter(tmp_path)
    path = next(iter(weights.pairs))
    wild = dict(weights.pairs) | {path: (weights.pairs[path][0] * float("nan"), weights.pairs[path][1])}
    save_adapter(AdapterWeights(4, 12.0, wild), tmp_path, base_name="tiny")
    with pytest.raises(ModelError, match="not finite"):
        load_adapter(tmp_path)
