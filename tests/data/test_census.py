"""The census: figures by hand, and laws that hold for any rows."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.data.census import census_of
from tuneward.data.measure import Size


def size(longest, learned=1):
    return Size(tokens=longest, longest=longest, learned=learned, shortest=learned)


def test_figures_by_hand():
    census = census_of([size(100), size(600, 50), size(1100, 100)], context_tokens=2000)
    assert (census.rows, census.tokens, census.learned) == (3, 1800, 151)
    assert (census.shortest, census.longest, census.mean) == (100, 1100, 600)
    assert {cut.length: (cut.rows, cut.tokens) for cut in census.cuts} == {512: (2, 676), 1024: (1, 76), 2000: (0, 0)}
    assert census.percentiles == {"5": 100, "25": 100, "50": 600, "75": 1100, "90": 1100, "95": 1100, "99": 1100}
    assert census.learned_share == 151 / 1800


@given(st.lists(st.integers(1, 5000), min_size=1), st.integers(16, 10_000))
def test_laws(lengths, context):
    census = census_of([size(length) for length in lengths], context_tokens=context)
    assert sum(entry.rows for entry in census.histogram) == census.rows == len(lengths)
    assert census.histogram[0].start <= census.shortest < census.histogram[0].end
    assert census.histogram[-1].start <= census.longest < census.histogram[-1].end
    assert [cut.length for cut in census.cuts] == sorted({cut.length for cut in census.cuts})
    assert census.cuts[-1].length == context
    rows = [cut.rows for cut in census.cuts]
    assert rows == sorted(rows, reverse=True)
    assert list(census.percentiles.values()) == sorted(census.percentiles.values())
