"""Tokenising: prepared records become rows, once per dataset, base and method.

Place on the road: after ``data`` (``train.jsonl``), before ``batches``. What is written is a folder of flat arrays,
named by a digest of all that it was made from. Knows no model and no loss.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tuneward.digests import digest_bytes, digest_file, digest_value
from tuneward.domain.record import Form, Record
from tuneward.errors import DataError, Fault, TunewardError
from tuneward.storage.files import fault_of
from tuneward.storage.staging import staging, sweep
from tuneward.training.rows import IGNORED, NOTE_FILE, Examples, Row, Rows, TokenizedExample, write_rows

MOST_FAULTS = 20

#: Prefix of folders that are being written.
WRITING = ".writing-"

#: Of a file of judged answers, so many first rows are kept for the last ones' foreign answers.
FOREIGN_ROWS = 64


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
    said: list[str | int] = [rows_digest, chat.digest, form, loss_on, context_tokens, vocabulary, 3]
    digest = digest_value(said)
    folder = cache / digest
    if (folder / NOTE_FILE).is_file():
        with suppress(OSError, ValueError, KeyError):  # a damaged one is made again
            return Rows(folder)
    maker = _Maker(chat, form, loss_on, context_tokens, vocabulary)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        sweep(cache, prefix=WRITING)  # a killed process left it
        with staging(cache, prefix=WRITING) as temporary:
            written = write_rows(maker.rows(path), temporary, digest=digest)
            if not written and not maker.faults:
                cure = "prepare a dataset with training rows"
                maker.faults.append(Fault("TW-TRAIN-002", "no row to train on", str(path), cure))
            if not maker.faults:
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
    except OSError as error:
        raise DataError(fault_of(error)) from error
    maker.raise_if_any()
    return Rows(folder)


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
        waiting: list[Row] = []
        others: list[Row] = []
        for row in self._tokenised(path):  # a foreign answer is the next row's with another prompt that fits
            left = []
            for early in waiting:
                if self._is_foreign(early, row):
                    yield _with_foreign(early, row)
                else:
                    left.append(early)
            waiting = [*left, row]
            if len(others) < FOREIGN_ROWS:
                others.append(row)
        for late in waiting:  # nothing came after them: one of the first rows'
            found = next((other for other in others if self._is_foreign(late, other)), None)
            if found is None:
                told = "no other row has another prompt and an answer that fits behind this one"
                cure = "add rows with other prompts and shorter answers, or leave this row out"
                self.faults.append(Fault("TW-TRAIN-004", told, late.id, cure))
            else:
                yield _with_foreign(late, found)

    def _is_foreign(self, row: Row, other: Row) -> bool:
        fits = row.ids.size + other.branches[0].size <= self.context_tokens
        return fits and not np.array_equal(row.ids, other.ids)

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
