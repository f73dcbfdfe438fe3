"""Closed formulas: Wilson's interval, Newcombe's paired difference, McNemar's exact test.

Place on the road: the statistics of figures in which each item is right or wrong. Knows counts only.
"""

from math import comb, sqrt

#: 97.5th percentile of the standard normal distribution: all intervals are 95%, two-sided.
Z = 1.959963984540054

Interval = tuple[float, float]


def wilson(hits: float, n: float) -> Interval:
    """95% score interval of a proportion (Wilson 1927; method 3 in Newcombe 1998, Stat. Med. 17:857).

    Args:
        hits: successes, 0 to ``n``; may be fractional where points between 0 and 1 stand in for successes, which makes
            the interval wider than needed, never narrower.
        n: trials, above 0.
    """
    share = hits / n
    scale = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / scale
    half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / scale
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    return low, 1.0 if hits == n else min(1.0, centre + half)


def square_and_add(first: float, second: float, *, one: Interval, two: Interval, correlation: float) -> Interval:
    """Interval of ``first - second`` from their own intervals (Newcombe 1998, Stat. Med. 17:2635, method 10)."""
    difference = first - second
    down, down_two = first - one[0], two[1] - second
    up, up_two = one[1] - first, second - two[0]
    low = difference - sqrt(max(0.0, down**2 - 2 * correlation * down * down_two + down_two**2))
    high = difference + sqrt(max(0.0, up**2 - 2 * correlation * up * up_two + up_two**2))
    return max(-1.0, low), min(1.0, high)


def paired_difference(*, both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """95% interval of the first proportion minus the second, measured on the same items (Newcombe's method 10)."""
    n = both + only_first + only_second + neither
    first, second = both + only_first, both + only_second
    spread = first * (n - first) * second * (n - second)
    cross = both * neither - only_first * only_second
    corrected = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    return square_and_add(
        first / n,
        second / n,
        one=wilson(first, n),
        two=wilson(second, n),
        correlation=corrected / sqrt(spread) if spread else 0.0,
    )


def mcnemar(*, only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test: twice the smaller binomial tail over the discordant items."""
    discordant = only_first + only_second
    tail = sum(comb(discordant, count) for count in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**discordant))
