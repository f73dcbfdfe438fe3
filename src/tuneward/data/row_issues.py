"""Row issues: why rows are doubted, each distinct set of reasons kept once.

Place on the road: beneath ``data.quality``. A million rows have a few hundred different sets of reasons: a row costs
four bytes. Knows rows by position.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.quality.issue import Issue, quality

Issues = tuple[Issue, ...]


class RowIssues:
    """The issues of rows in their order."""

    def __init__(self) -> None:
        self._sets: list[Issues] = [()]
        self._numbers: dict[Issues, int] = {(): 0}
        self._of_row = array("i")

    def __len__(self) -> int:
        return len(self._of_row)

    def __getitem__(self, position: int) -> Issues:
        return self._sets[self._of_row[position]]

    def add(self, issues: Iterable[Issue]) -> None:
        """Take the issues of the next row."""
        self._of_row.append(self._number(tuple(issues)))

    def append(self, position: int, issue: Issue) -> None:
        """Add one more issue to a row that is there."""
        self._of_row[position] = self._number((*self[position], issue))

    def take_out(self, rule: str) -> None:
        """Forget every issue of this rule."""
        changed = [self._number(tuple(i for i in issues if i.rule != rule)) for issues in list(self._sets)]
        self._of_row = array("i", (changed[number] for number in self._of_row))

    def rows_with(self, asked: Callable[[Issue], bool]) -> NDArray[np.bool_]:
        """For each row whether one of its issues is asked for."""
        return self._each([any(map(asked, issues)) for issues in self._sets]).astype(bool)

    @property
    def scores(self) -> NDArray[np.float64]:
        """For each row its score; see :func:`inspection.quality.issue.quality`."""
        return self._each([quality(issues) for issues in self._sets])

    def kinds(self) -> Counter[str]:
        """Kind of issue → rows that have it."""
        rows = Counter(self._of_row)
        counted = Counter[str]()
        for number, issues in enumerate(self._sets):
            if rows[number]:
                counted.update(dict.fromkeys((issue.kind for issue in issues), rows[number]))
        return counted

    def _number(self, issues: Issues) -> int:
        number = self._numbers.setdefault(issues, len(self._sets))
        if number == len(self._sets):
            self._sets.append(issues)
        return number

    def _each(self, values: list[float] | list[bool]) -> NDArray[np.float64]:
        return np.array(values, dtype=np.float64)[np.array(self._of_row, dtype=np.int64)]
