import pytest

from tuneward.configuration import validate
from tuneward.errors import ConfigError
from tuneward.modeling.config import AdapterConfig
from tuneward.training.config import TrainingConfig


def test_canonical_comes_back_the_same():
    config = TrainingConfig(adapter=AdapterConfig(rank=8, targets=("q_proj",)), epochs=2.5)
    assert validate(config.canonical(), TrainingConfig) == config
    assert validate(TrainingConfig().canonical(), TrainingConfig) == TrainingConfig()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"adaptor": {}}, "TW-CONF-003"),
        ({"adapter": {"r": 16}}, "TW-CONF-003"),
        ({"adapter": {"rank": 0}}, "TW-CONF-004"),
        ({"adapter": {"targets": []}}, "TW-CONF-004"),
        ({"epochs": 0}, "TW-CONF-004"),
        ({"learning_rate": float("nan")}, "TW-CONF-004"),
        ({"method": "magic"}, "TW-CONF-004"),
    ],
)
def test_wrong_settings_are_refused(values, code):
    with pytest.raises(ConfigError) as caught:
        validate(values, TrainingConfig)
    assert caught.value.faults[0].code == code
