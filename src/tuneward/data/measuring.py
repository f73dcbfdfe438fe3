"""Measuring: rows with their size in tokens, in their order, here or in processes beside this one.

Place on the road: beneath ``data.lengths``. ``python -m tuneward.data.measuring`` is such a process: it loads the chat
template and tokenizer of a folder and answers rows with numbers. What comes out does not depend on where it was made.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from tuneward.data.measure import ChatTemplate, Size, measure
from tuneward.domain.record import Record
from tuneward.errors import Fault, ModelError
from tuneward.modeling.chat import Chat
from tuneward.processes import Processes, answer_lines

#: Size and tokens of the question, or why there is none.
Measured = tuple[Size, int] | ModelError
MeasuringProcesses = Processes[Sequence[Record], list[Measured]]

_ROWS_TOGETHER: Final = 128
#: Rows that are measured here before processes are worth their start.
_ROWS_ALONE: Final = 2048


@dataclass
class Measuring:
    """Measures rows on their way.

    Attributes:
        chat: of this process.
        processes: others that have the same.
    """

    chat: ChatTemplate
    processes: MeasuringProcesses | None = None
    _rows: int = 0

    def each(self, records: Iterable[Record]) -> Iterator[tuple[Record, Measured]]:
        """Every record with its size."""
        waiting = iter(records)
        under_way: deque[tuple[list[Record], Callable[[], list[Measured]]]] = deque()
        while piece := list(islice(waiting, _ROWS_TOGETHER)):
            if self.processes and self._rows >= _ROWS_ALONE:
                under_way.append((piece, self.processes.submit(piece).result))
                while len(under_way) > 2 * self.processes.count:
                    yield from _together(*under_way.popleft())
            else:
                yield from zip(piece, (measured(self.chat, record) for record in piece), strict=True)
            self._rows += len(piece)
        while under_way:
            yield from _together(*under_way.popleft())


def measured(chat: ChatTemplate, record: Record) -> Measured:
    """A row's size, and the tokens of its question where one will be asked; why not, where the template refuses it."""
    try:
        size = measure(chat, record)
        asked = record.split != "train" and record.form != "document"
        return size, len(chat.prompt_ids(record.prompt, tools=record.tools)) if asked else 0
    except ModelError as error:
        return error


def make_processes(
    folder: Path, *, count: int, chat: ChatTemplate, told: Callable[[str], None] = lambda text: None
) -> MeasuringProcesses:
    """Processes that measure as ``chat`` does.

    Args:
        folder: of the base.
        count: how many.
        chat: what the folder makes in this process.
        told: takes a line about a process that did not answer and was ended.
    """
    return Processes(
        "tuneward.data.measuring",
        str(folder.absolute()),
        count=count,
        written=lambda records: [record.to_json() for record in records],
        read=_read_all,
        here=lambda records: [measured(chat, record) for record in records],
        told=told,
    )


def begin(folder: str) -> Callable[[list[dict[str, Any]]], object]:
    """What answers rows with their sizes, as a process of :func:`make_processes` does."""
    chat = Chat.load(Path(folder))
    return lambda rows: [_written(measured(chat, Record.from_json(row))) for row in rows]


def _written(value: Measured) -> object:
    if isinstance(value, ModelError):
        return {"faults": [astuple(fault) for fault in value.faults]}
    size, question = value
    return [*astuple(size), question]


def _read_all(records: Sequence[Record], answer: Any) -> list[Measured]:
    sizes = [_read(value) for value in answer]
    if len(sizes) != len(records):
        raise ValueError("a size for each row")
    return sizes


def _read(value: Any) -> Measured:
    if isinstance(value, dict):
        return ModelError([Fault(*fault) for fault in value["faults"]])
    *size, question = value
    return Size(*size), question


def _together(records: list[Record], result: Callable[[], list[Measured]]) -> Iterator[tuple[Record, Measured]]:
    return zip(records, result(), strict=True)


if __name__ == "__main__":
    answer_lines(begin)
