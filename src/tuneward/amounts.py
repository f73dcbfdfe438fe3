"""Amounts: a number with its noun, in the singular where it is one.

Place on the road: wherever something is said of a number of things. Knows no noun.
"""


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 row``, ``2 rows``, ``1,200 rows``.

    Args:
        number: how many.
        one: what there is one of, and what is said of it where the verb changes too: ``row names nobody``.
        many: the same of several; ``one`` with an s when left out.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
