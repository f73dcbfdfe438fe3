import math

import pytest

from tests.serving.fake_engine import FakeEngine, Running
from tuneward.serving.canary import CANARY_PROMPTS, NOISE_FLOOR, difference, faults, measure
from tuneward.serving.client import EngineClient


def canary(*prompts):
    return {"format": 1, "prompts": "p", "first_tokens": [list(map(list, p)) for p in prompts]}


def test_equal_measurements_differ_by_exactly_nothing():
    a = canary([("a", -0.1), ("b", -2.0)], [("x", -1.0), ("x", -3.0)])
    assert difference(a, a) == 0.0


def test_the_mean_over_all_listed_tokens():
    a, b = canary([("a", -0.5), ("b", -2.0)]), canary([("a", -1.0), ("b", -1.0)])
    assert difference(a, b) == pytest.approx((0.5 + 1.0) / 2)
    assert difference(b, a) == difference(a, b)


def test_a_token_that_one_side_lacks_counts_from_the_last_one_listed():
    a, b = canary([("a", -0.5), ("b", -1.0)]), canary([("a", -0.5), ("c", -4.0)])
    # b is at most -4.0 on the other side: 3.0; c lies under the last one here: nothing is known, 0.0
    assert difference(a, b) == pytest.approx((0.0 + 3.0 + 0.0) / 3)


def test_tokens_of_one_name_are_paired_in_order():
    a, b = canary([("x", -1.0), ("x", -2.0)]), canary([("x", -1.5), ("x", -2.5)])
    assert difference(a, b) == pytest.approx(0.5)


def test_other_prompts_are_not_compared():
    with pytest.raises(ValueError, match="different prompts"):
        difference(canary(), {**canary(), "prompts": "q"})


def test_the_verdicts():
    base, tuned = canary([("a", -1.0)]), canary([("a", -2.0)])
    assert faults(base=base, adapter=tuned, reference=tuned) == []
    assert [f.code for f in faults(base=base, adapter=base, reference=None)] == ["TW-SERV-038"]
    assert [f.code for f in faults(base=base, adapter=base, reference=tuned)] == ["TW-SERV-038", "TW-SERV-039"]
    assert [f.code for f in faults(base=base, adapter=tuned, reference=canary([("a", -2.5)]))] == ["TW-SERV-039"]
    barely = canary([("a", -1.0 - NOISE_FLOOR / 2)])
    assert [f.code for f in faults(base=base, adapter=barely, reference=None)] == ["TW-SERV-038"]


def test_over_an_engine_an_ignored_adapter_is_seen(tmp_path):
    for name in ("real", "ignored"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text("{}")
    (tmp_path / "ignored" / "noop").touch()
    fake = FakeEngine(name="base", key="k", adapters_root=tmp_path)
    with Running(fake.app) as running, EngineClient(running.url, "k") as client:
        for name in ("real", "ignored"):
            client.load_adapter(name, tmp_path / name)
        base, real, ignored = (measure(client, name) for name in ("base", "real", "ignored"))
    assert len(base["first_tokens"]) == len(CANARY_PROMPTS)
    assert all(len(listed) == 20 and math.isfinite(listed[0][1]) for listed in base["first_tokens"])
    assert difference(base, ignored) == 0.0
    assert difference(base, real) > NOISE_FLOOR
