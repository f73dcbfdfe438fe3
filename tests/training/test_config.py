import pytest

from tuneward.configuration import validate
from tuneward.errors import ConfigError
from tuneward.modeling.config import AdapterConfig
from tuneward.training.config import TrainingConfig


def test_canonical_comes_back_the_same():
    config = TrainingConfig(adapter=AdapterConfig(rank=8, targets=("q_proj",)), epochs=2.5)
    assert validate(config.canonical(), TrainingConfig) == config
    assert validate(TrainingConfig().canonical(), TrainingConfig) == TrainingConfig()
    watched = TrainingConfig(recompute=3, betas=(0.8, 0.9), validation={"fraction": 0.1, "patience": 2, "samples": 4})
    assert validate(watched.canonical(), TrainingConfig) == watched
    assert TrainingConfig(recompute=True).canonical()["recompute"] is True


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"adaptor": {}}, "TW-CONF-003"),
        ({"adapter": {"r": 16}}, "TW-CONF-003"),
        ({"adapter": {"rank": 0}}, "TW-CONF-004"),
        ({"adapter": {"targets": []}}, "TW-CONF-004"),
        ({"epochs": 0}, "TW-CONF-004"),
        ({"learning_rate": float("nan")}, "TW-CONF-004"),
        ({"eps": float("inf")}, "TW-CONF-004"),
        ({"eps": 1e-46}, "TW-CONF-004"),  # 0 in fp32
        ({"preference": {"loss": "kto", "desirable_weight": 0, "undesirable_weight": 0}}, "TW-CONF-004"),
        ({"clip_norm": float("inf")}, "TW-CONF-004"),
        ({"validation": {"fraction": 0.1, "min_delta": float("inf")}}, "TW-CONF-004"),
        ({"method": "magic"}, "TW-CONF-004"),
        ({"optimizer": "adam"}, "TW-CONF-004"),
        ({"betas": [0.9, 1.0]}, "TW-CONF-004"),
        ({"betas": [0.9]}, "TW-CONF-005"),
        ({"recompute": 0}, "TW-CONF-004"),
        ({"recompute": -2}, "TW-CONF-004"),
        ({"recompute": "often"}, "TW-CONF-004"),
        ({"validation": {"fraction": 1.0}}, "TW-CONF-004"),
        ({"validation": {"fraction": 0.1, "keep": "first"}}, "TW-CONF-004"),
        ({"validation": {"fraction": 0.1, "patience": 0}}, "TW-CONF-004"),
    ],
)
def test_wrong_settings_are_refused(values, code):
    with pytest.raises(ConfigError) as caught:
        validate(values, TrainingConfig)
    assert caught.value.faults[0].code == code
