import pytest
from pydantic import ValidationError

from tuneward.configuration import validate
from tuneward.errors import ConfigError
from tuneward.modeling.config import AdapterConfig


def test_scale_follows_the_paper():
    assert AdapterConfig(rank=16, alpha=8).scale == 0.5
    assert AdapterConfig(rank=16, alpha=8, rslora=True).scale == 2.0


def test_the_label_names_kind_and_variants():
    assert AdapterConfig().label == "lora"
    assert AdapterConfig(kind="qlora", dora=True, rslora=True).label == "qlora+rslora+dora"
    assert AdapterConfig(kind="full").label == "full"


@pytest.mark.parametrize(
    "idle", [{"rank": 8}, {"dora": True}, {"rslora": True}, {"dropout": 0.1}, {"targets": ("q_proj",)}]
)
def test_settings_of_an_update_say_nothing_where_every_weight_is_trained(idle):
    with pytest.raises(ConfigError) as caught:
        validate({"kind": "full", **idle}, AdapterConfig)
    assert next(iter(idle)) in caught.value.faults[0].message


@pytest.mark.parametrize("settings", [{"kind": "full"}, {"kind": "qlora", "dora": True}, {"targets": ("q_proj",)}])
def test_frozen_settings_are_read_back_as_they_were(settings):
    config = AdapterConfig(**settings)
    assert AdapterConfig.model_validate(config.canonical()) == config


@pytest.mark.parametrize("settings", [{"kind": "ia3"}, {"rank": 0}, {"dropout": 1.0}, {"dora": 3}, {"targets": ()}])
def test_what_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError):
        validate(settings, AdapterConfig)


def test_embeddings_in_four_bits_need_layers_in_four_bits():
    kept = [AdapterConfig(), AdapterConfig(kind="qlora"), AdapterConfig(kind="qlora", quantise_embeddings=True)]
    assert [settings.quantisation for settings in kept] == ["none", "nf4", "nf4-all"]
    with pytest.raises(ValidationError, match="quantise_embeddings needs kind: qlora, and kind is lora"):
        AdapterConfig(quantise_embeddings=True)
    with pytest.raises(ValidationError, match="every weight is trained; leave out quantise_embeddings"):
        AdapterConfig(kind="full", quantise_embeddings=True)
