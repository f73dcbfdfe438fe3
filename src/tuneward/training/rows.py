"""Rows: prepared records as token ids and labels, in files that are mapped and not loaded.

Place on the road: after ``tokenising``, which makes them, before ``batches``. A folder of flat arrays is mapped, so
that memory does not grow with the rows. Knows no model and no loss.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np

from tuneward.digests import digest_file
from tuneward.domain.record import Message

IGNORED = -100

_IDS, _LEARNED, _NAMES, _INDEX, NOTE_FILE = "ids.i32", "learned.u8", "names.txt", "index.npy", "note.json"
_ENTRY = np.dtype(
    [
        *(("start", "<i8"), ("name", "<i8"), ("head", "<i4"), ("first", "<i4"), ("second", "<i4")),
        *(("trained", "<i4"), ("name_bytes", "<i4"), ("desirable", "<i1"), ("margin", "<f4"), ("group", "<u8")),
    ]
)


class TokenizedExample(Protocol):
    """Ids, and labels of the same length with -100 where nothing is learned."""

    @property
    def ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def labels(self) -> tuple[int, ...]: ...  # noqa: D102


class Examples(Protocol):
    """Turns records' messages into token ids; ``modeling.chat.Chat`` does."""

    @property
    def digest(self) -> str:
        """Names tokenizer and template."""

    def example(
        self, messages: Sequence[Message], *, loss_on: Literal["answers", "all"], tools: str | None = None
    ) -> TokenizedExample:
        """Token ids of a conversation, and which of them are learned."""

    def document(self, text: str) -> TokenizedExample:
        """Token ids of a text without a template, all learned."""

    def pair(
        self, prompt: Sequence[Message], chosen: Message, rejected: Message, *, tools: str | None = None
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """Token ids of a prompt and of two answers to it, each up to and with its end of turn."""


@dataclass(frozen=True, eq=False)
class Row:
    """One record, tokenised.

    Attributes:
        id: the record's id.
        ids: (tokens,) int32: the whole document, or the prompt that the branches share.
        labels: (tokens,) int32; ``labels[t]`` is ``ids[t]`` where that token is learned, else -100.
        branches: answers that each continue ``ids`` and are learned whole: (chosen, rejected) of a pair; of a judged
            answer itself and a foreign one, which KTO measures its distance from the reference with.
        desirable: a judged answer's verdict.
        margin: how much better the chosen answer is, in units of reward; 0 where nobody said.
        reference: log-probability of each branch under the reference, in nats; empty where none is needed.
        group: names whose row it is: rows of one subject share it, a row without a subject has its own.
    """

    id: str
    ids: np.ndarray
    labels: np.ndarray
    branches: tuple[np.ndarray, ...] = ()
    desirable: bool = True
    margin: float = 0.0
    reference: tuple[float, ...] = ()
    group: int = 0

    @property
    def size(self) -> int:
        """Tokens that pass through the model."""
        return int(self.ids.size + sum(branch.size for branch in self.branches))

    @property
    def trained(self) -> int:
        """Number of learned tokens; a document's first token has nothing before it to be predicted from."""
        return int((self.labels[1:] != IGNORED).sum() + sum(branch.size for branch in self.branches))


class Rows(Sequence[Row]):
    """The rows of a folder that :func:`write_rows` wrote, mapped into memory.

    Raises:
        OSError | ValueError | KeyError: the folder does not hold what was written.

    Attributes:
        sizes: (rows,) tokens of each row.
        trained: (rows,) learned tokens of each row.
        groups: (rows,) whose row each is.
        digest: names what the folder was made from.
    """

    def __init__(self, folder: Path) -> None:
        note = json.loads((folder / NOTE_FILE).read_text(encoding="utf-8"))
        if note["files"] != _digests(folder):  # a power cut leaves blocks of zeros, which would be trained on
            raise ValueError("not the files that were written")
        self.digest: str = note["digest"]
        self._index = np.load(folder / _INDEX)
        self._ids, self._learned, self._names = (
            _mapped(folder / name, kind) for name, kind in ((_IDS, "<i4"), (_LEARNED, "u1"), (_NAMES, "u1"))
        )
        self.sizes: np.ndarray = self._index["head"] + self._index["first"] + self._index["second"]
        self.trained: np.ndarray = self._index["trained"]
        self.groups: np.ndarray = self._index["group"]
        self.reference: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, number: int) -> Row: ...
    @overload
    def __getitem__(self, number: slice) -> list[Row]: ...

    def __getitem__(self, number: int | slice) -> Row | list[Row]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        entry = self._index[number]
        start, head, first, second = (int(entry[key]) for key in ("start", "head", "first", "second"))
        ids = self._ids[start : start + head]
        branches = tuple(
            self._ids[begin : begin + length]
            for begin, length in ((start + head, first), (start + head + first, second))
            if length
        )
        reference = () if self.reference is None else tuple(float(x) for x in self.reference[number][: len(branches)])
        name = self._names[int(entry["name"]) : int(entry["name"]) + int(entry["name_bytes"])]
        return Row(
            id=bytes(name).decode(),
            ids=ids,
            labels=np.where(self._learned[start : start + head] != 0, ids, np.int32(IGNORED)),
            branches=branches,
            desirable=bool(entry["desirable"]),
            margin=float(entry["margin"]),
            reference=reference,
            group=int(entry["group"]),
        )


def write_rows(rows: Iterable[Row], folder: Path, *, digest: str) -> int:
    """Write rows into an existing folder as flat arrays, in constant memory but for the index; returns their number."""
    index, at, named = [], 0, 0
    ids, learned, names = ((folder / name).open("wb") for name in (_IDS, _LEARNED, _NAMES))
    with ids, learned, names:
        for row in rows:
            ids.write(np.concatenate([row.ids, *row.branches]).astype("<i4").tobytes())
            learned.write((row.labels != IGNORED).astype("u1").tobytes() + b"\1" * (row.size - row.ids.size))
            name = row.id.encode()
            names.write(name)
            first, second = (row.branches[i].size if i < len(row.branches) else 0 for i in (0, 1))
            sizes = (row.ids.size, first, second, row.trained, len(name))
            index.append((at, named, *sizes, row.desirable, row.margin, row.group))
            at, named = at + row.size, named + len(name)
    np.save(folder / _INDEX, np.array(index, dtype=_ENTRY))
    note = {"digest": digest, "rows": len(index), "tokens": at, "files": _digests(folder)}
    (folder / NOTE_FILE).write_text(json.dumps(note) + "\n", "utf-8")
    return len(index)


def _digests(folder: Path) -> dict[str, str]:
    return {name: digest_file(folder / name) for name in (_IDS, _LEARNED, _NAMES, _INDEX)}


def _mapped(path: Path, kind: str) -> Any:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)
