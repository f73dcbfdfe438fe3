"""Segments: a long or endless text in stretches, cut in the same places however it arrives.

Place on the road: beneath ``inspection.inspector``. Memory does not grow with the text, and what is found in it does
not depend on the pieces in which it came. Law: the windows of any chunks are those of the whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

#: Characters of a stretch; a text up to this and :data:`LONGEST_SPAN` is looked at in one piece.
SEGMENT: Final = 524_288
#: The longest finding, in characters, that is whole wherever it stands in a longer text (a private key is shorter).
LONGEST_SPAN: Final = 20_480
#: Characters before a stretch that are shown, too, so that detectors see the words before a number.
BEFORE: Final = 256


@dataclass(frozen=True, slots=True)
class Window:
    """What is looked at in one go.

    Attributes:
        text: the stretch, with characters before and after it.
        offset: where ``text`` begins in the whole.
        start: where the stretch begins in the whole.
        end: one past where it ends; None at the end of the whole. What begins there or later is the next one's.
    """

    text: str
    offset: int
    start: int
    end: int | None


def windows(chunks: Iterable[str], *, segment: int = SEGMENT, longest: int = LONGEST_SPAN) -> Iterator[Window]:
    """Cut what ``chunks`` say together into windows; there is at least one."""
    text, offset, start = "", 0, 0
    waiting: list[str] = []
    size = 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size - start <= segment + longest:
            continue
        text, waiting = "".join((text, *waiting)), []
        while size - start > segment + longest:
            yield Window(text[: start + segment + longest - offset], offset, start, start + segment)
            start += segment
            text = text[max(0, start - BEFORE) - offset :]
            offset = max(0, start - BEFORE)
    yield Window("".join((text, *waiting)), offset, start, None)
