import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from tests.tiny import ARCHITECTURES, make_tiny_base
from tuneward.errors import ModelError
from tuneward.modeling import scoring
from tuneward.modeling.adapter_files import SCORE, check_fits, load_adapter
from tuneward.modeling.base_model import hidden_states, load_base
from tuneward.modeling.config import AdapterConfig
from tuneward.modeling.lora import add_lora
from tuneward.modeling.packed import PackedDocuments
from tuneward.modeling.scoring import scoring_class, scoring_model
from tuneward.training.trainable import FullTrainable, LoraTrainable

IDS = torch.randint(5, 300, (1, 19), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return lambda name: (
        make_tiny_base(folder / name, architecture=name) if not (folder / name).exists() else folder / name
    )


def score_of(model):
    return torch.randn(1, model.config.hidden_size, generator=torch.Generator().manual_seed(2))


def ours(model, score):
    return hidden_states(model, IDS, PackedDocuments((IDS.shape[1],)))[0, -1:] @ score.t()


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_full_reward_model_loads_in_plain_transformers_with_equal_scores(bases, tmp_path, architecture):
    model = load_base(bases(architecture), precision="fp32")
    score = score_of(model)
    FullTrainable(model).save(tmp_path / "saved", base_name="tiny", score=score)
    theirs, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["missing_keys"]
    assert theirs.config.num_labels == 1
    torch.testing.assert_close(ours(model, score), theirs(input_ids=IDS).logits, atol=2e-5, rtol=2e-5)
    assert model.get_output_embeddings() is not None  # the model itself is as it was


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_reward_adapter_loads_in_plain_peft_with_equal_scores(bases, tmp_path, architecture):
    model = load_base(bases(architecture), precision="fp32")
    config = AdapterConfig(rank=4)
    layers = add_lora(model, config, seed=0)
    with torch.no_grad():
        for layer in layers.values():
            layer.b.normal_(std=0.1, generator=torch.Generator().manual_seed(5))
    score = score_of(model)
    LoraTrainable(layers, config).save(tmp_path / "saved", base_name="tiny", score=score)
    base = AutoModelForSequenceClassification.from_pretrained(bases(architecture), num_labels=1, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, tmp_path / "saved").eval()
    torch.testing.assert_close(ours(model, score), theirs(input_ids=IDS).logits, atol=2e-5, rtol=2e-5)


def test_a_reward_adapter_comes_back_and_is_not_served(bases, tmp_path):
    model = load_base(bases("llama"), precision="fp32")
    config = AdapterConfig(rank=4)
    score = score_of(model)
    LoraTrainable(add_lora(model, config, seed=0), config).save(tmp_path / "saved", base_name="tiny", score=score)
    weights = load_adapter(tmp_path / "saved")
    assert torch.equal(weights.score, score)
    faults = check_fits(weights, load_base(bases("llama"), precision="fp32"))
    assert [(fault.code, fault.place) for fault in faults] == [("TW-BASE-036", SCORE)]


@pytest.mark.parametrize("damage", ["tensor gone", "setting gone"])
def test_a_reward_adapter_without_its_score_is_refused(bases, tmp_path, damage):
    import json

    from safetensors.torch import load_file, save_file

    model = load_base(bases("llama"), precision="fp32")
    config = AdapterConfig(rank=4)
    layers = add_lora(model, config, seed=0)
    LoraTrainable(layers, config).save(tmp_path / "saved", base_name="tiny", score=score_of(model))
    if damage == "tensor gone":
        file = tmp_path / "saved" / "adapter_model.safetensors"
        save_file({k: v for k, v in load_file(file).items() if SCORE not in k}, file)
    else:
        file = tmp_path / "saved" / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"modules_to_save": None}))
    with pytest.raises(ModelError) as caught:
        load_adapter(tmp_path / "saved")
    assert caught.value.faults[0].code == "TW-BASE-035"


def test_an_architecture_without_a_sequence_classifier_is_refused(bases, monkeypatch):
    model = load_base(bases("llama"), precision="fp32")
    monkeypatch.setattr(scoring.AutoModelForSequenceClassification, "_model_mapping", {})
    for ask in (lambda: scoring_class(model), lambda: scoring_model(model, score_of(model))):
        with pytest.raises(ModelError) as caught:
            ask()
        assert caught.value.faults[0].code == "TW-BASE-045"
