"""Cut: a long text into passages at the coarsest borders that let each fit.

Place on the road: asked by ``data.documents`` for sections and by ``data.lengths`` for passages. Knows sizes as the
caller counts them, no tokens and no files.

Law: the passages, joined, are the text; each fits, and none is blank unless the text is.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

#: Borders from coarse to fine; a passage ends behind one.
_PARAGRAPH: Final = re.compile(r"\n[^\S\n]*\n\s*")
_BORDERS: Final = (_PARAGRAPH, re.compile(r"\n\s*"), re.compile(r"(?<=[.!?。！？])\s+"), re.compile(r"\s+"))


class UncuttableError(Exception):
    """A single word is larger than what fits."""


def paragraphs(text: str) -> list[str]:
    """The paragraphs of ``text``, each with the blank lines behind it; joined, they are the text."""
    return _pieces(text, _PARAGRAPH)


def cut(text: str, *, size: Callable[[str], int], limit: int, overhead: int = 0) -> tuple[list[str], int]:
    """Passages of at most ``limit``, and how many paragraphs had to be cut inside because they alone do not fit.

    Args:
        text: what is cut.
        size: what counts; of a joined text nearly the sum of its parts' sizes.
        limit: largest size of a passage.
        overhead: what every passage costs besides its text.

    Raises:
        UncuttableError: a word alone does not fit.
    """
    whole = _Cutter(size, limit, overhead)
    passages = list(whole.cut(text, 0))
    return passages, whole.broken


class _Cutter:
    def __init__(self, size: Callable[[str], int], limit: int, overhead: int) -> None:
        self._size, self._limit, self._overhead = size, limit, overhead
        self.broken = 0

    def cut(self, text: str, level: int) -> Iterator[str]:
        if level == len(_BORDERS):
            raise UncuttableError
        waiting: list[str] = []
        total = self._overhead
        for piece in _pieces(text, _BORDERS[level]):
            size = self._size(piece)
            if waiting and total + size - self._overhead > self._limit:
                yield from self._joined(waiting)
                waiting, total = [], self._overhead
            if size > self._limit:
                self.broken += level == 0
                yield from self.cut(piece, level + 1)
            else:
                waiting.append(piece)
                total += size - self._overhead
        yield from self._joined(waiting)

    def _joined(self, pieces: list[str]) -> Iterator[str]:
        """One passage; more where the joined text is larger than its parts."""
        while pieces:
            taken = len(pieces)
            while taken > 1 and self._size("".join(pieces[:taken])) > self._limit:
                taken -= 1
            yield "".join(pieces[:taken])
            pieces = pieces[taken:]


def _pieces(text: str, border: re.Pattern[str]) -> list[str]:
    """Split behind every border; white space before the first word belongs to the first piece."""
    start = len(text) - len(text.lstrip())
    ends = [match.end() for match in border.finditer(text, start) if match.end() < len(text)]
    return [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True) if end > begin]
