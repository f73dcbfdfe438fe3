"""Parsing: JSON text as rows hold it.

Place on the road: beneath readers and conversations. Knows no row.
"""

import json
from typing import Any, NoReturn


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one JSON object")
    return value


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)


def parse_json(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: no NaN, no infinities, and no key twice (section 4 leaves its meaning open).

    Raises:
        ValueError: where it is no JSON, or nested too deeply to be read.
    """
    try:
        return _JSON.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
