import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling import attention, machine
from tuneward.modeling.base_model import OutputHead, best_precision, hidden_states, load_base, prove
from tuneward.modeling.packed import PackedDocuments


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_architecture_is_proven(tmp_path, architecture, precision):
    model = load_base(make_tiny_base(tmp_path, architecture=architecture), precision=precision)
    prove(model)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_head_of_hidden_states_is_the_models_logits(tmp_path):
    model = load_base(make_tiny_base(tmp_path, architecture="gemma2"), precision="fp32")
    ids, layout = torch.arange(10).unsqueeze(0), PackedDocuments((10,))
    logits = model(input_ids=ids, position_ids=layout.position_ids(), use_cache=False, layout=layout).logits
    torch.testing.assert_close(OutputHead.of(model).logits(hidden_states(model, ids, layout)), logits)


def test_prove_sees_documents_that_see_one_another(tmp_path, monkeypatch):
    model = load_base(make_tiny_base(tmp_path), precision="fp32")
    whole = PackedDocuments.attend

    def leaking(self, *arguments, **rest):
        return whole(PackedDocuments((sum(self.lengths),)), *arguments, **rest)

    monkeypatch.setattr(PackedDocuments, "attend", leaking)
    with pytest.raises(ModelError) as caught:
        prove(model)
    assert "TW-BASE-037" in {fault.code for fault in caught.value.faults}


def test_prove_sees_a_head_that_is_scaled_otherwise(tmp_path):
    model = load_base(make_tiny_base(tmp_path), precision="fp32")
    model.config.logits_scaling = 2.0
    with pytest.raises(ModelError) as caught:
        prove(model)
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-032"}


def test_prove_leaves_the_attention_as_it_was(tmp_path):
    model = load_base(make_tiny_base(tmp_path), precision="fp32")
    prove(model)
    assert model.config._attn_implementation == attention.NAME


def test_missing_weights_are_never_made_up(tmp_path):
    folder = make_tiny_base(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj"):
        load_base(folder, precision="fp32")


@pytest.mark.parametrize("damage", ["no config", "no weights", "cut weights", "unknown architecture", "code"])
def test_unusable_folders_are_refused(tmp_path, damage):
    folder = make_tiny_base(tmp_path)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "no config":
        config.unlink()
    elif damage == "no weights":
        weights.unlink()
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        values = json.loads(config.read_text())
        values["model_type"] = "nothing-known"
        if damage == "code":
            values["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
        config.write_text(json.dumps(values))
    with pytest.raises(ModelError) as caught:
        load_base(folder, precision="fp32")
    assert {fault.code for fault in caught.value.faults} == {"TW-BASE-030"}


@pytest.mark.parametrize(("listed", "precision"), [("avx512f avx512_bf16", "bf16"), ("avx512f avx2", "fp32")])
def test_doctor_and_models_have_one_answer_about_bf16(tmp_path, monkeypatch, listed, precision):
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {listed}\n", encoding="ascii")
    monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_precision() == precision
    assert machine.look(tmp_path).native_bf16 == (precision == "bf16")
