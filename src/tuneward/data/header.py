"""Header: whether a file's columns can be told from one another, and are as many as a row may have.

Place on the road: asked by the readers whose files name their columns once. Knows no row.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tuneward.data.faults import Faults

MAX_COLUMNS: Final = 10_000


def is_sound(names: Sequence[str], place: str, faults: Faults) -> bool:
    """Whether every column has a name of its own; a fault for each that has not."""
    if say_too_many(len(names), place, faults):
        return False
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    for name in twice:
        faults.add("TW-DATA-011", f"column `{name[:80]}` stands twice", place=place, cure="rename one of the columns")
    blank = [index for index, name in enumerate(names, start=1) if not name.strip()]
    for index in blank:
        faults.add("TW-DATA-011", f"column {index} has no name", place=place, cure="give every column a name")
    return not twice and not blank


def say_too_many(count: int, place: str, faults: Faults) -> bool:
    """Whether there are more columns than a row may have; a fault then."""
    if count <= MAX_COLUMNS:
        return False
    cure = "keep the columns that are used; check the separator, and whether rows stand as columns"
    faults.add("TW-DATA-046", f"{count:,} columns; at most {MAX_COLUMNS:,} are read", place=place, cure=cure)
    return True
