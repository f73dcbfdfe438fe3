import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.modeling.test_lora import fill
from tests.tiny import make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling.adapter_files import AdapterWeights, check_fits, load_adapter, save_adapter
from tuneward.modeling.base_model import load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import add_lora, weights_of
from tuneward.modeling.packed import PackedDocuments


@pytest.fixture(scope="module", params=["llama", "phi3", "gemma3_text"])
def base(request, tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"), architecture=request.param)


KINDS = {"lora": {}, "rslora": {"rslora": True}, "dora": {"dora": True}, "both": {"rslora": True, "dora": True}}


def filled(base, **settings):
    """An adapter with numbers in all its parts, and the model that it is in."""
    config = AdapterConfig(rank=4, alpha=12, **settings)
    model = load_base(base, precision="fp32")
    layers = add_lora(model, config, seed=0)
    fill(layers)
    return weights_of(layers, config), model


@pytest.fixture
def weights(base):
    return filled(base)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_plain_peft_loads_it_with_equal_logits(base, kind, tmp_path):
    weights, ours = filled(base, **KINDS[kind])
    save_adapter(weights, tmp_path / "adapter", base_name="tiny")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    ids, layout = torch.arange(12).unsqueeze(0), PackedDocuments((12,))
    untouched = plain(input_ids=ids, use_cache=False).logits
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter")(input_ids=ids, use_cache=False).logits
    mine = ours(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=2e-5)
    assert (theirs - untouched).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_what_peft_saves_is_read_with_equal_numbers(base, kind, tmp_path):
    weights, _ = filled(base, **KINDS[kind])
    save_adapter(weights, tmp_path / "ours", base_name="tiny")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    PeftModel.from_pretrained(plain, tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = load_adapter(tmp_path / "theirs")
    assert (again.rank, again.alpha, again.rslora, again.scale) == (4, 12.0, weights.rslora, weights.scale)
    assert_equal(again, weights)


def assert_equal(left, right):
    assert set(left.pairs) == set(right.pairs)
    assert set(left.magnitudes) == set(right.magnitudes)
    for path, pair in right.pairs.items():
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(left.pairs[path], pair, strict=True))
    for path, magnitude in right.magnitudes.items():
        assert torch.equal(left.magnitudes[path], magnitude)


@pytest.mark.parametrize("kind", KINDS)
def test_reload_equals_saved_bit_for_bit(base, kind, tmp_path):
    weights, _ = filled(base, **KINDS[kind])
    save_adapter(weights, tmp_path / "a", base_name="tiny")
    again = load_adapter(tmp_path / "a")
    assert (again.rank, again.alpha, again.rslora) == (weights.rank, weights.alpha, weights.rslora)
    assert again.parameters == weights.parameters
    assert_equal(again, weights)
    save_adapter(again, tmp_path / "b", base_name="tiny")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_magnitudes_that_do_not_belong_are_refused(base, tmp_path):
    weights, _ = filled(base, dora=True)
    path = next(iter(weights.pairs))
    for wrong in (weights.magnitudes[path][:-1], torch.full_like(weights.magnitudes[path], float("inf"))):
        save_adapter(replace(weights, magnitudes={**weights.magnitudes, path: wrong}), tmp_path, base_name="tiny")
        with pytest.raises(ModelError) as caught:
            load_adapter(tmp_path)
        assert [fault.code for fault in caught.value.faults] == ["TW-BASE-035"]
    save_adapter(weights, tmp_path, base_name="tiny")
    file = tmp_path / "adapter_config.json"
    file.write_text(file.read_text().replace('"use_dora": true', '"use_dora": false'))
    with pytest.raises(ModelError, match="use_dora is not set"):
        load_adapter(tmp_path)


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
        ({"use_dora": True}, "has no magnitude"),
        ({"alora_invocation_tokens": [1, 2]}, "alora"),
        ({"bias": "all"}, "bias"),
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
