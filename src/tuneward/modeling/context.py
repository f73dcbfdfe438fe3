"""Context: the longest row that a base computes rightly, from its configuration alone.

Place on the road: asked by ``folder_check`` (so that ``prepare`` refuses longer rows), by training and by the engine:
one answer for all three. Loads no torch and no weights.
"""

from collections.abc import Mapping
from typing import Any

#: Kinds of RoPE scaling that transformers computes from the longest row of a call.
SCALED_BY_CALL = frozenset({"dynamic", "longrope"})


def longest_row(config: Mapping[str, Any]) -> int:
    """Most tokens that a row may have; 0 where the configuration names no limit.

    Where positions are scaled by the longest row of a call (dynamic NTK; LongRoPE, arXiv 2402.13753), it is the length
    below which they are not: a long row must change neither the rows packed beside it nor its neighbours in a step.

    Args:
        config: the text model's configuration, as ``config.json`` has it.
    """
    limit = config.get("max_position_embeddings")
    if not isinstance(limit, int):
        return 0
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    for kind in (scaling, *(value for value in scaling.values() if isinstance(value, Mapping))):
        if kind.get("rope_type", kind.get("type")) in SCALED_BY_CALL:
            known = kind.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
            limit = min(limit, known or limit)
    return limit
