import pytest

from tuneward.amounts import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_200_000, "1,200,000 rows"), (-1, "-1 rows")]
)
def test_only_one_is_singular(number, said):
    assert counted(number, "row") == said


def test_what_has_a_plural_of_its_own():
    assert counted(1, "row names nobody", "rows name nobody") == "1 row names nobody"
    assert counted(3, "process", "processes") == "3 processes"
