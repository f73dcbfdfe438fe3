"""Rows: prepared records as token ids and labels, in files that are mapped and not loaded.

Place on the road: after ``data`` (``train.jsonl``), before ``batches``. Records are tokenised once per dataset, base
and method; the result is a folder of flat arrays, named by a digest of what it was made from, and a run maps it: memory
does not grow with the rows. Knows no model and no loss.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, overload

import numpy as np

from tuneward.digests import digest_bytes, digest_file, digest_value
from tuneward.domain.record import Message, Record
from tuneward.errors import DataError, Fault, TunewardError
from tuneward.storage.files import fault_of

IGNORED = -100
MOST_FAULTS = 20

#: What a row is made into: a text, a conversation with labels, two answers to one prompt, one answer and its verdict.
Form = Literal["document", "conversation", "pair", "judged"]

_IDS, _LEARNED, _NAMES, _INDEX, _NOTE = "ids.i32", "learned.u8", "names.txt", "index.npy", "note.json"
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
    """The rows of a folder that :func:`tokenise` wrote, mapped into memory.

    Attributes:
        sizes: (rows,) tokens of each row.
        trained: (rows,) learned tokens of each row.
        groups: (rows,) whose row each is.
        digest: names what the folder was made from.
    """

    def __init__(self, folder: Path) -> None:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
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


def read_rows(
    path: Path,
    chat: Examples,
    *,
    cache: Path,
    context_tokens: int,
    vocabulary: int,
    form: Form = "conversation",
    loss_on: Literal["answers", "all"] = "answers",
) -> Rows:
    """Tokenise ``train.jsonl``, or map what was tokenised from the same before.

    Args:
        path: one record per line, as ``Record.to_json`` writes it.
        chat: the base model's tokenizer and template.
        cache: folder of tokenised datasets; created if missing.
        context_tokens: longest document (of a pair: prompt and one answer) that the model was made for.
        vocabulary: rows of the model's embedding.
        form: what the method learns from.
        loss_on: which tokens of a conversation are learned.

    Raises:
        DataError: unreadable lines, rows without a learned token, too long rows, ids outside the vocabulary; all
            faults (the first 20 and a count), rows named by id or line.
    """
    try:
        rows_digest = digest_file(path)
    except OSError as error:
        raise DataError(
            Fault("TW-TRAIN-001", type(error).__name__, str(path), "run `tuneward prepare` again")
        ) from None
    said: list[str | int] = [rows_digest, chat.digest, form, loss_on, context_tokens, vocabulary, 2]
    digest = digest_value(said)
    folder = cache / digest
    if (folder / _NOTE).is_file():
        with suppress(OSError, ValueError, KeyError):  # a damaged one is made again
            return Rows(folder)
    temporary = cache / f".writing-{digest}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    maker = _Maker(chat, form, loss_on, context_tokens, vocabulary)
    try:
        temporary.mkdir(parents=True)
        written = tokenise(maker.rows(path), temporary, digest=digest)
        if not written and not maker.faults:
            cure = "prepare a dataset with training rows"
            maker.faults.append(Fault("TW-TRAIN-002", "no row to train on", str(path), cure))
        if not maker.faults:
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    except OSError as error:
        raise DataError(fault_of(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    maker.raise_if_any()
    return Rows(folder)


def tokenise(rows: Iterable[Row], folder: Path, *, digest: str) -> int:
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
    (folder / _NOTE).write_text(json.dumps({"digest": digest, "rows": len(index), "tokens": at}) + "\n", "utf-8")
    return len(index)


@dataclass
class _Maker:
    chat: Examples
    form: Form
    loss_on: Literal["answers", "all"]
    context_tokens: int
    vocabulary: int

    faults: list[Fault] = field(default_factory=list)

    def rows(self, path: Path) -> Iterator[Row]:
        """Usable rows of a file; the others become faults."""
        if self.form != "judged":
            yield from self._tokenised(path)
            return
        first = previous = None
        for row in self._tokenised(path):  # the foreign answer is the next row's, the last row's is the first's
            if previous is None:
                first = row
            else:
                yield _with_foreign(previous, row)
            previous = row
        if previous is not None and first is not None:
            yield _with_foreign(previous, first)

    def _tokenised(self, path: Path) -> Iterator[Row]:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    record = Record.from_json(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    told = "the line is no prepared record"
                    place = f"{path.name}:{number}"
                    self.faults.append(Fault("TW-TRAIN-001", told, place, "run `tuneward prepare` again"))
                    continue
                try:
                    row = replace(self._row(record), group=_group(record))
                except TunewardError as error:
                    self.faults.extend(error.faults)
                    continue
                fault = self._fault(row)
                if fault is None:
                    yield row
                else:
                    self.faults.append(fault)

    def _row(self, record: Record) -> Row:
        if self.form == "document":
            return _whole(record.id, self.chat.document("\n\n".join(m.content for m in record.messages)))
        if self.form == "conversation":
            return _whole(record.id, self.chat.example(record.messages, loss_on=self.loss_on, tools=record.tools))
        if self.form == "pair" and record.rejected is None:
            raise DataError(
                Fault("TW-TRAIN-001", "the record has no second answer", record.id, "run `tuneward prepare` again")
            )
        other = record.rejected if self.form == "pair" and record.rejected else record.messages[-1]
        prompt, chosen, rejected = self.chat.pair(record.prompt, record.messages[-1], other, tools=record.tools)
        branches = (_array(chosen), _array(rejected))
        head = _array(prompt)
        return Row(
            record.id,
            head,
            np.full_like(head, IGNORED),
            branches if self.form == "pair" else branches[:1],
            desirable=record.desirable is not False,
            margin=record.margin or 0.0,
        )

    def _fault(self, row: Row) -> Fault | None:
        largest = max((int(part.max()) for part in (row.ids, *row.branches) if part.size), default=0)
        if largest >= self.vocabulary:
            told = f"token id {largest} is outside the model's vocabulary of {self.vocabulary}"
            return Fault("TW-TRAIN-005", told, row.id, "use the tokenizer that belongs to the base")
        if row.trained == 0 or (row.branches and not row.ids.size):
            return Fault("TW-TRAIN-003", "no token of the row is trained", row.id, "drop the row, or check its answer")
        longest = int(row.ids.size) + max((branch.size for branch in row.branches), default=0)
        if longest > self.context_tokens:
            told = f"{longest} tokens exceed the context of {self.context_tokens}"
            return Fault("TW-TRAIN-004", told, row.id, "set data.too_long, or choose a base with a longer context")
        return None

    def raise_if_any(self) -> None:
        faults = self.faults
        if len(faults) > MOST_FAULTS:
            rest = len(faults) - MOST_FAULTS
            faults = [*faults[:MOST_FAULTS], Fault("TW-TRAIN-001", f"and {rest} more faults like these")]
        if faults:
            raise DataError(faults)


def _whole(name: str, example: TokenizedExample) -> Row:
    return Row(name, _array(example.ids), _array(example.labels))


def _with_foreign(row: Row, other: Row) -> Row:
    return replace(row, branches=(row.branches[0], other.branches[0]))


def _group(record: Record) -> int:
    kind, name = ("row", record.id) if record.subject is None else ("subject", record.subject)
    return int(digest_bytes(f"{kind}/{name}".encode())[:16], 16)


def _array(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def _mapped(path: Path, kind: str) -> Any:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)
