import pytest

from tuneward.evaluation.intervals import mcnemar, paired_difference, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_the_published_table(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_closed_at_the_ends_and_mirrors() -> None:
    assert wilson(0, 200)[0] == 0.0
    assert wilson(200, 200)[1] == 1.0
    low, high = wilson(3, 50)
    assert wilson(47, 50) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        # Fagerland, Lydersen, Laake 2014, chapter 8: airway responsiveness before and after (Bentur 2009)
        ((1, 1, 7, 12), -0.286, -0.507, -0.026),
        # Altman et al. 2000, Statistics with Confidence, p. 52
        ((20, 12, 2, 16), 0.20, 0.056, 0.329),
    ],
)
def test_paired_difference_against_published_examples(
    table: tuple[int, int, int, int], difference: float, low: float, high: float
) -> None:
    both, only_first, only_second, neither = table
    assert (only_first - only_second) / sum(table) == pytest.approx(difference, abs=1e-3)
    interval = paired_difference(both=both, only_first=only_first, only_second=only_second, neither=neither)
    assert interval == pytest.approx((low, high), abs=5e-4)


def test_paired_difference_is_never_without_width_and_flips_its_sign() -> None:
    for table in [(0, 200, 0, 0), (0, 0, 0, 200), (200, 0, 0, 0), (3, 0, 9, 8), (0, 1, 0, 0)]:
        both, first, second, neither = table
        low, high = paired_difference(both=both, only_first=first, only_second=second, neither=neither)
        swapped = paired_difference(both=both, only_first=second, only_second=first, neither=neither)
        assert -1 <= low < high <= 1
        assert low <= (first - second) / sum(table) <= high
        assert swapped == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("only_first", "only_second", "p_value"),
    [
        (9, 1, 22 / 1024),  # 2 · (1 + 10) / 2^10
        (1, 9, 22 / 1024),
        (7, 1, 18 / 256),  # Bentur 2009: published as P = 0.070
        (5, 5, 1.0),
        (0, 0, 1.0),
        (6, 0, 2 / 64),
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p_value: float) -> None:
    assert mcnemar(only_first=only_first, only_second=only_second) == pytest.approx(p_value)


def test_mcnemar_of_many_items_neither_overflows_nor_stalls() -> None:
    assert 0 < mcnemar(only_first=2600, only_second=2400) < 0.01
