"""Census: how long rows are, and how many would not fit at which length, before anything is trained.

Place on the road: what ``tuneward data lengths`` counts of a prepared dataset. Tuneward cuts no row; the census says
what a shorter context would cost. Knows sizes, no texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuneward.data.measure import ChatTemplate, Size, measure
from tuneward.domain.record import Record
from tuneward.progress import Progress

#: Lengths in tokens that are asked about, as far as the base's context reaches.
LENGTHS: Final = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
PERCENTILES: Final = (5, 25, 50, 75, 90, 95, 99)
_BINS: Final = 20


@dataclass(frozen=True)
class Cut:
    """What a context of ``length`` tokens would cost.

    Attributes:
        length: tokens.
        rows: rows that are longer.
        tokens: tokens beyond it, all longer rows together.
    """

    length: int
    rows: int
    tokens: int


@dataclass(frozen=True)
class Bin:
    """Rows whose length lies in ``[start, end)`` tokens."""

    start: int
    end: int
    rows: int


@dataclass(frozen=True)
class Census:
    """Lengths of a split.

    Attributes:
        rows: how many rows.
        tokens: tokens that pass through the model in one epoch.
        learned: tokens that are learned.
        shortest: tokens of the shortest row.
        longest: tokens of the longest row; of a pair, of its prompt and the longer answer.
        mean: tokens of a row on average.
        percentiles: per cent of rows → tokens that so many rows do not exceed.
        cuts: what shorter contexts would cost, the base's own last.
        histogram: rows by length, in bins of equal width from the shortest row's on.
    """

    rows: int
    tokens: int
    learned: int
    shortest: int
    longest: int
    mean: float
    percentiles: dict[str, int]
    cuts: tuple[Cut, ...]
    histogram: tuple[Bin, ...]

    @property
    def learned_share(self) -> float:
        """Share of tokens that are learned, 0 to 1."""
        return self.learned / self.tokens if self.tokens else 0.0


def take_census(
    chat: ChatTemplate, records: Sequence[Record], *, context_tokens: int, progress: Progress
) -> Census | None:
    """Measure every record; None where there is none.

    Args:
        chat: the base's chat template and tokenizer.
        records: rows of one split.
        context_tokens: the base's context.
        progress: told of every row.

    Raises:
        ModelError: a row cannot be rendered any more.
    """
    sizes = []
    for record in records:
        sizes.append(measure(chat, record))
        progress.advance()
    return census_of(sizes, context_tokens=context_tokens) if sizes else None


def census_of(sizes: Sequence[Size], *, context_tokens: int) -> Census:
    """The census of rows with these sizes; there must be one at least."""
    lengths = np.array([size.longest for size in sizes])
    asked = [length for length in LENGTHS if length < context_tokens] + [context_tokens]
    beyond = [np.maximum(lengths - length, 0) for length in asked]
    width = max(1, -(-(int(lengths.max()) + 1) // _BINS))
    counts = np.bincount(lengths // width)
    first = int(lengths.min()) // width
    return Census(
        rows=len(sizes),
        tokens=sum(size.tokens for size in sizes),
        learned=sum(size.learned for size in sizes),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        mean=float(lengths.mean()),
        percentiles={str(p): int(np.percentile(lengths, p, method="inverted_cdf")) for p in PERCENTILES},
        cuts=tuple(
            Cut(length, int((over > 0).sum()), int(over.sum())) for length, over in zip(asked, beyond, strict=True)
        ),
        histogram=tuple(Bin(i * width, (i + 1) * width, int(counts[i])) for i in range(first, len(counts))),
    )
