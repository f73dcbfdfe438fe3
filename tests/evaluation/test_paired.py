import numpy as np
import pytest

from tuneward.evaluation import paired
from tuneward.evaluation.paired import Figure, Floats, compare


def shares(values: list[float]) -> Floats:
    return np.array([(value, 1.0) for value in values])


def mean(base: list[float], tuned: list[float], seed: int = 0) -> Figure:
    return compare({"f": "mean"}, {"f": shares(base)}, {"f": shares(tuned)}, seed=seed)["f"]


def test_rate_carries_everything() -> None:
    base, tuned = [1.0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0.0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    figure = compare({"f": "rate"}, {"f": shares(base)}, {"f": shares(tuned)}, seed=0)["f"]
    assert (figure.base, figure.tuned, figure.n) == (0.2, 0.9, 10)
    assert figure.difference == pytest.approx(0.7)
    assert (figure.wrong_to_right, figure.right_to_wrong) == (8, 1)
    assert figure.p_value == pytest.approx(20 / 512)
    assert figure.test == "McNemar exact"


def test_bootstrap_of_a_mean_has_the_width_of_its_standard_error() -> None:
    generator = np.random.default_rng(1)
    tuned = generator.uniform(size=400).tolist()
    figure = mean([0.5] * 400, tuned)
    assert figure.interval is not None
    expected = 2 * 1.96 * np.std(tuned) / 20
    assert figure.interval[1] - figure.interval[0] == pytest.approx(expected, rel=0.05)
    assert sum(figure.interval) / 2 == pytest.approx(float(np.mean(tuned)), abs=0.003)


def test_bootstrap_is_paired() -> None:
    """The same step on every item leaves almost no doubt about the difference, however much the items differ."""
    base = np.linspace(0, 0.8, 200)
    tuned = base + 0.1 + np.resize([0.01, -0.01], 200)
    figure = mean(base.tolist(), tuned.tolist())
    assert figure.difference_interval == pytest.approx((0.1, 0.1), abs=0.003)
    assert figure.interval is not None
    assert figure.interval[1] - figure.interval[0] > 0.05


def test_randomisation_equals_all_sign_flips() -> None:
    """Five items, every one better: of 32 swaps two are as extreme, so p is 1/16."""
    figure = mean([0.1, 0.2, 0.3, 0.2, 0.1], [0.4, 0.4, 0.6, 0.5, 0.3])
    assert figure.p_value == pytest.approx(2 / 32, abs=0.01)
    assert mean([0.3, 0.4], [0.3, 0.4]).p_value == 1.0


def test_coverage_of_the_bootstrap_is_near_95_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    generator = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        figure = mean([0.0] * 60, generator.beta(2, 3, size=60).tolist(), seed=trial)
        assert figure.interval is not None
        hits += figure.interval[0] <= 0.4 <= figure.interval[1]
    assert 0.90 <= hits / 300 <= 0.99


def test_ratio_is_pooled_over_items_and_counts_its_support() -> None:
    base = np.array([(0.0, 0.0), (1.0, 2.0), (0.0, 0.0), (3.0, 3.0)])
    tuned = np.array([(2.0, 2.0), (1.0, 2.0), (0.0, 1.0), (3.0, 3.0)])
    figure = compare({"f": "ratio"}, {"f": base}, {"f": tuned}, seed=0)["f"]
    assert figure.base == pytest.approx(4 / 5)
    assert figure.tuned == pytest.approx(6 / 8)
    assert figure.support == (2, 4)


def test_what_is_divided_by_nothing_is_undefined_not_zero() -> None:
    nothing, something = np.zeros((5, 2)), shares([1, 0, 1, 1, 0])
    figure = compare({"f": "ratio"}, {"f": nothing}, {"f": something}, seed=0)["f"]
    assert (figure.base, figure.base_interval, figure.difference, figure.p_value) == (None, None, None, None)
    assert figure.tuned == pytest.approx(0.6)


def test_no_spread_is_not_no_uncertainty() -> None:
    figure = mean([0.0] * 20, [1.0] * 20)
    assert figure.base_interval == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert figure.difference_interval is not None
    assert figure.difference_interval[0] < 0.8
    assert figure.difference_interval[1] == 1.0


def test_blocks_do_not_change_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    base, tuned = generator.uniform(size=50).tolist(), generator.uniform(size=50).tolist()
    whole = mean(base, tuned)
    monkeypatch.setattr(paired, "BLOCK_ENTRIES", 50 * 700)
    assert mean(base, tuned).to_json() == whole.to_json()


def test_seed_decides() -> None:
    base, tuned = [0.1, 0.7, 0.3, 0.9] * 10, [0.4, 0.2, 0.8, 0.6] * 10
    assert mean(base, tuned, seed=4) == mean(base, tuned, seed=4)
    assert mean(base, tuned, seed=4) != mean(base, tuned, seed=5)


def test_json_has_plain_rounded_numbers_without_minus_zero() -> None:
    shown = mean([1 / 3] * 3, [1 / 3] * 3).to_json()
    assert shown["tuned"] == 0.333333
    assert str(shown["difference"]) == "0.0"
    assert all(type(end) is float for end in shown["interval"])
