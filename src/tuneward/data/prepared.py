"""Prepared rows: what a prepared dataset holds, how it is written, and how it is read again.

Place on the road: what ``data.dataset`` builds and every later step reads. The fingerprint is made from the rows that
are written here. Knows neither site nor audit log.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, overload

from tuneward.data.canaries import Canary
from tuneward.data.card import render_card
from tuneward.data.content_summary import render_summary
from tuneward.data.finding_log import FindingLog
from tuneward.data.legal import Ledger
from tuneward.data.quality import Quality, RowQuality
from tuneward.data.rows import Rows
from tuneward.digests import canonical_json, keyed_digest, merkle_root
from tuneward.domain.dataset import RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import TermsEntry
from tuneward.domain.record import Record
from tuneward.errors import DataError, Fault

_DIGEST_BYTES: Final = 32
_RESERVE = "reserve.jsonl"
_ROW_FILES = ("train.jsonl", "test.jsonl", _RESERVE)


class Digests(Sequence[str]):
    """Keyed digests in hex, held as bytes: thirty-two for each row."""

    def __init__(self, digests: Iterable[str]) -> None:
        self._held = bytearray()
        for digest in digests:
            self._held += bytes.fromhex(digest)

    def __len__(self) -> int:
        return len(self._held) // _DIGEST_BYTES

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[place] for place in places]
        return self._held[_DIGEST_BYTES * places : _DIGEST_BYTES * (places + 1)].hex()


@dataclass(frozen=True)
class Prepared:
    """Rows that may train and rows that test, with everything that was decided on the way.

    Rows and findings lie on disk, in files that end with the object; what is asked of them is read then.

    Attributes:
        train: training rows in file order.
        test: test rows in file order, those held out of the training files last.
        reserve: rows that neither train nor test.
        digests: keyed digest of each row's canonical JSON, train, test, reserve: the fingerprint's leaves.
        fingerprint: :func:`fingerprint_of` the digests.
        findings: what inspection found; no text.
        judged: what is thought of the training rows.
        canaries: rows for a twin run, not part of the fingerprint.
        counts: what came in, what left and why, findings by kind and action.
        card: the data card as JSON.
        ledger: under which terms the rows stand.
        summary: the public summary of training content, as JSON.
        shard_of: the shard of a row.
    """

    train: Rows
    test: Rows
    reserve: Rows
    digests: Sequence[str]
    fingerprint: str
    findings: FindingLog
    judged: Quality
    canaries: tuple[Canary, ...]
    counts: Mapping[str, Any]
    card: Mapping[str, Any]
    ledger: Ledger
    summary: Mapping[str, Any]
    shard_of: Callable[[Record], int]

    @property
    def quality(self) -> Iterator[RowQuality]:
        """Training rows with a reason to doubt them, or with copies; no text."""
        return self.judged.noted()

    def entries(self, dataset: str) -> Iterator[RecordEntry]:
        """Each row's place in the lineage of the dataset with this id, train first."""
        placed = chain.from_iterable(enumerate(rows) for rows in (self.train, self.test, self.reserve))
        for (position, record), digest in zip(placed, self.digests, strict=True):
            yield RecordEntry(
                id=record.id,
                dataset=dataset,
                position=position,
                split=record.split,
                subject=record.subject,
                digest=digest,
                source=str(record.source),
                terms=self.ledger.name_of(record.terms),
                shard=self.shard_of(record),
            )

    def terms_entries(self, dataset: str) -> list[TermsEntry]:
        """What the register keeps of the rows' terms, for the dataset with this id."""
        return self.ledger.entries(dataset)

    def finding_entries(self, dataset: str) -> Iterator[FindingEntry]:
        """What the register keeps of each finding, for the dataset with this id."""
        for found in self.findings:
            finding = found.finding
            yield FindingEntry(
                dataset=dataset,
                record=found.record,
                field=found.field,
                kind=finding.kind,
                start=finding.start,
                end=finding.end,
                confidence=finding.confidence,
                rule=finding.rule,
                action=found.action,
                view=finding.view,
            )

    def write(self, folder: Path) -> None:
        """Write rows, findings, quality, terms, the data card and the summary of training content into a new folder.

        ``reserve.jsonl`` and ``canaries.jsonl`` are written where the settings ask for them. The same rows, settings
        and keys give the same bytes on the same day.

        Raises:
            DataError: when the folder exists or cannot be written; nothing is left behind then.
        """
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        try:
            for name, records in zip(_ROW_FILES, (self.train, self.test, self.reserve), strict=True):
                if name == _RESERVE and not records:
                    continue
                with (folder / name).open("wb") as handle:
                    handle.writelines(line + b"\n" for line in records.lines)
            with (folder / "findings.jsonl").open("wb") as handle:
                handle.writelines(canonical_json(finding.to_json()) + b"\n" for finding in self.findings)
            with (folder / "quality.jsonl").open("wb") as handle:
                handle.writelines(canonical_json(row.to_json()) + b"\n" for row in self.quality)
            if self.canaries:
                with (folder / "canaries.jsonl").open("wb") as handle:
                    handle.writelines(canonical_json(canary.to_json()) + b"\n" for canary in self.canaries)
            (folder / "terms.json").write_bytes(canonical_json(self.ledger.file) + b"\n")
            for name, value in (("card.json", self.card), ("content-summary.json", self.summary)):
                text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
                (folder / name).write_text(text + "\n", encoding="utf-8")
            (folder / "card.html").write_text(render_card(self.card), encoding="utf-8")
            (folder / "content-summary.html").write_text(render_summary(self.summary), encoding="utf-8")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _unwritable(folder, error) from None


def fingerprint_of(digests: Iterable[str]) -> str:
    """Merkle root (RFC 9162) over keyed row digests in hex, train, test, then reserve, each in file order."""
    return merkle_root(bytes.fromhex(digest) for digest in digests)


def read_records(path: Path) -> list[Record]:
    """The rows of ``train.jsonl`` or ``test.jsonl`` of a prepared dataset, in order."""
    with path.open("rb") as handle:
        return [Record.from_json(json.loads(line)) for line in handle]


def fingerprint_of_folder(folder: Path, record_key: bytes) -> str:
    """The fingerprint, made anew from the rows that a written dataset holds."""
    files = [folder / name for name in _ROW_FILES if name != _RESERVE or (folder / name).exists()]
    return fingerprint_of(keyed_digest(record_key, line) for file in files for line in _lines(file))


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as handle:
        for line in handle:
            yield line.removesuffix(b"\n")


def _unwritable(folder: Path, error: OSError) -> DataError:
    cure = "free some space" if error.errno == 28 else "check the folder and its permissions"
    return DataError(
        Fault("TW-DATA-028", error.strerror or "the disk refuses", str(folder), f"{cure}, then run it again")
    )
