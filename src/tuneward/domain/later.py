"""Fields that a noun got after rows of it were written and their digests logged.

A noun is logged by the digest of its canonical form. A field that came later is left out of that form while it holds
the value with which earlier rows read, so that what was logged before still checks out.
"""

from dataclasses import Field, field
from typing import Any, TypeVar

T = TypeVar("T")
_MARK = "later"


def later(default: T) -> T:
    """A field with a default that stands for every row that is older than the field."""
    made: T = field(default=default, metadata={_MARK: True})
    return made


def is_later(described: "Field[Any]") -> bool:
    """Whether a dataclass's field was made by :func:`later`."""
    return bool(described.metadata.get(_MARK))
