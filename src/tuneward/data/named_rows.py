"""Named rows: how many there are, and where the first of them stand.

Place on the road: whatever leaves rows out or refuses them tells it here, so that a million of them take no memory.
"""

from dataclasses import dataclass, field
from typing import Final

from tuneward.domain.record import Record

#: Rows that are named; the others are counted.
NAMED: Final = 20


@dataclass
class NamedRows:
    """Rows of one reason.

    Attributes:
        count: all of them.
        first: ``file:line`` of the first twenty, in the order in which they came.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take one more row."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(str(record.source))

    def __len__(self) -> int:
        return self.count
