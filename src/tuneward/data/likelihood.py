"""Likelihood: what the base thinks of each training row, where the settings ask for it.

Place on the road: beneath ``data.quality``. Renders rows as training will and hands their tokens to a judgement that
comes from outside (``modeling.likelihood``). Knows no model.
"""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from tuneward.data.measure import ChatTemplate
from tuneward.domain.record import Record
from tuneward.errors import ModelError

#: Rows that are rendered and judged together.
_TOGETHER: Final = 4096
#: Token ids and labels of rows → mean loss of the learned tokens of each, NaN where there are none.
Likelihood = Callable[[Sequence[tuple[Sequence[int], Sequence[int]]]], Sequence[float]]


def losses_of(
    records: Iterable[Record], *, chat: ChatTemplate, likelihood: Likelihood, context_tokens: int
) -> "array[float]":
    """Mean loss of each row's learned tokens; NaN where a row cannot be rendered or does not fit the context.

    Args:
        records: training rows.
        chat: the base's chat template and tokenizer.
        likelihood: judges rendered rows.
        context_tokens: the longest row that the base takes.
    """
    told, waiting = array("d"), iter(records)
    while batch := list(islice(waiting, _TOGETHER)):
        places, rows = list[int](), list[tuple[Sequence[int], Sequence[int]]]()
        for place, record in enumerate(batch, start=len(told)):
            try:
                document = record.form == "document"
                tokens = chat.document(record.answer) if document else chat.example(record.messages, tools=record.tools)
            except ModelError:  # told with its place when rows are measured
                continue
            if len(tokens.ids) <= context_tokens:
                places.append(place)
                rows.append((tokens.ids, tokens.labels))
        told.extend([math.nan] * len(batch))
        for place, loss in zip(places, likelihood(rows) if rows else [], strict=True):
            told[place] = loss
    return told
