"""Parsing: JSON text as rows hold it.

Place on the road: beneath readers and conversations. Knows no row.
"""

import json
from typing import Any, Final, NoReturn

#: The deepest that lists and objects may stand inside one another: far above what rows have, below what ends Python.
MAX_DEPTH: Final = 100
TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one JSON object")
    return value


#: The decoder behind :func:`parse_json`.
JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def parse_json(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no infinities, and no key twice (section 4 leaves its meaning open).

    Raises:
        ValueError: where it is no JSON, or nested too deeply to be read.
    """
    try:
        value = JSON.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if may_be_deep(text) and is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def may_be_deep(text: str) -> bool:
    """Whether a JSON text has as many brackets as a value needs that is nested too deeply."""
    return text.count("[") + text.count("{") > MAX_DEPTH


def is_deep(value: Any) -> bool:
    """Whether lists and objects stand inside one another more than :data:`MAX_DEPTH` deep; asked without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
