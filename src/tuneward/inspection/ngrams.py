"""N-grams: how much of a tested text stands word for word in other texts.

Place on the road: ``data.contamination`` asks it, beside equality and near-equality, because a passage that holds a
test question within much other text is neither. A run of thirteen words is what GPT-3 (Brown et al. 2020, appendix C)
took as the mark of contamination; that a share of a text's runs must be found, not one, follows PaLM (Chowdhery et al.
2022, section 8, which takes 70% of eight-word runs). Knows texts, no rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneward.inspection.near_lookup import batches
from tuneward.inspection.shingles import Shingling, cut

WORDS: Final = 13
_FEWEST_WORDS: Final = 8
_FORM: Final = 10


@dataclass(frozen=True)
class Share:
    """How much of a tested text another text holds.

    Attributes:
        text: position of the text asked about.
        tested: position of the tested text.
        share: of the tested text's runs of words, 0 to 1.
    """

    text: int
    tested: int
    share: float


class Ngrams:
    """The runs of thirteen words of tested texts.

    A text of eight to twelve words is one run; a shorter one is not looked at. Runs that stand in more than ten tested
    texts are phrases of the form that all share, and do not count.

    Args:
        tested: in normal form.
        parts: for each of them a part that gives it away by itself, such as its question, in normal form; the greater
            share of both counts.
    """

    def __init__(self, tested: Sequence[str], parts: Sequence[str] = ()) -> None:
        self._items = len(tested)
        tested = [*tested, *parts]
        hashes, owners, words = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        begun = 0
        for part in batches(tested):
            runs, single = cut(part, Shingling("words", WORDS)), cut(part, Shingling("words", 1))
            words.append(np.bincount(single.rows, minlength=len(part)))
            hashes.append(runs.hashes)
            owners.append(runs.rows + begun)
            begun += len(part)
        pairs = np.unique(np.stack([np.concatenate(hashes), np.concatenate(owners).astype(np.uint64)], axis=1), axis=0)
        long_enough = np.concatenate(words)[pairs[:, 1].astype(np.int64)] >= _FEWEST_WORDS
        pairs = pairs[long_enough]
        once = np.unique(np.stack([pairs[:, 0], pairs[:, 1] % np.uint64(max(1, self._items))], axis=1), axis=0)
        runs_held, counts = np.unique(once[:, 0], return_counts=True)
        pairs = pairs[counts[np.searchsorted(runs_held, pairs[:, 0])] <= _FORM] if len(pairs) else pairs
        self._hashes, self._owners = pairs[:, 0].copy(), pairs[:, 1].astype(np.int64)
        self._sizes = np.bincount(self._owners, minlength=len(tested))
        self._found = np.zeros(len(self._hashes), dtype=bool)
        lengths = np.minimum(np.concatenate(words)[self._sizes > 0], WORDS)
        self._widths: list[int] = np.unique(lengths).tolist()

    def look(self, texts: Sequence[str], *, least: float) -> list[Share]:
        """Remember which runs the texts hold, and name the texts that hold ``least`` or more of a tested one's.

        Args:
            texts: in normal form.
            least: share of a tested text's runs, above 0 to 1.
        """
        shares: list[Share] = []
        begun = 0
        for part in batches(texts):
            shares += self._look(part, begun, least)
            begun += len(part)
        return shares

    def covered(self) -> NDArray[np.float64]:
        """For each tested text the share of its runs that any text so far held; NaN where it has none that count."""
        found = np.bincount(self._owners[self._found], minlength=len(self._sizes))
        shares = np.where(self._sizes > 0, found / np.maximum(self._sizes, 1), np.nan)
        return np.fmax.reduce(shares.reshape(-1, self._items)) if self._items else shares

    def _look(self, texts: list[str], begun: int, least: float) -> list[Share]:
        runs = [cut(texts, Shingling("words", width)) for width in self._widths]
        hashes = np.concatenate([run.hashes for run in runs] or [np.zeros(0, np.uint64)])
        rows = np.concatenate([run.rows for run in runs] or [np.zeros(0, np.int64)])
        low = np.searchsorted(self._hashes, hashes)
        counts = np.searchsorted(self._hashes, hashes, side="right") - low
        asked = np.repeat(rows, counts)
        at = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
        self._found[at] = True
        unique = np.unique((asked.astype(np.uint64) << np.uint64(32)) | at.astype(np.uint64))  # a run counts once
        row = (unique >> np.uint64(32)).astype(np.int64)
        owner = self._owners[(unique & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        pairs, held = np.unique(np.stack([row, owner]), axis=1, return_counts=True)
        share = held / self._sizes[pairs[1]]
        best: dict[tuple[int, int], float] = {}
        for text, tested, part in zip(pairs[0].tolist(), pairs[1].tolist(), share.tolist(), strict=True):
            if part >= least:
                key = (text + begun, tested % self._items)
                best[key] = max(part, best.get(key, 0.0))
        return [Share(text, tested, part) for (text, tested), part in sorted(best.items())]
