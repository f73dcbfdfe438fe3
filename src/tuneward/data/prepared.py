"""Prepared rows: what a prepared dataset holds, how it is written, and how it is read again.

Place on the road: what ``data.dataset`` builds and every later step reads. The fingerprint is made from the rows that
are written here. Knows neither site nor audit log.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.data.canaries import Canary
from tuneward.data.card import render_card
from tuneward.data.content_summary import render_summary
from tuneward.data.legal import Ledger
from tuneward.data.quality import RowQuality
from tuneward.data.screening import RowFinding
from tuneward.digests import canonical_json, keyed_digest, merkle_root
from tuneward.domain.dataset import RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.law import TermsEntry
from tuneward.domain.record import Record
from tuneward.errors import DataError, Fault

_RESERVE = "reserve.jsonl"
_ROW_FILES = ("train.jsonl", "test.jsonl", _RESERVE)


@dataclass(frozen=True)
class Prepared:
    """Rows that may train and rows that test, with everything that was decided on the way.

    Attributes:
        train: training rows in file order.
        test: test rows in file order, those held out of the training files last.
        reserve: rows that neither train nor test.
        digests: keyed digest of each row's canonical JSON, train, test, reserve: the fingerprint's leaves.
        fingerprint: :func:`fingerprint_of` the digests.
        findings: what inspection found; no text.
        quality: training rows with a reason to doubt them, or with copies; no text.
        canaries: rows for a twin run, not part of the fingerprint.
        counts: what came in, what left and why, findings by kind and action.
        card: the data card as JSON.
        ledger: under which terms the rows stand.
        summary: the public summary of training content, as JSON.
    """

    train: tuple[Record, ...]
    test: tuple[Record, ...]
    reserve: tuple[Record, ...]
    digests: tuple[str, ...]
    fingerprint: str
    findings: tuple[RowFinding, ...]
    quality: tuple[RowQuality, ...]
    canaries: tuple[Canary, ...]
    counts: Mapping[str, Any]
    card: Mapping[str, Any]
    ledger: Ledger
    summary: Mapping[str, Any]

    def entries(self, dataset: str) -> list[RecordEntry]:
        """Each row's place in the lineage of the dataset with this id, train first."""
        placed = [*enumerate(self.train), *enumerate(self.test), *enumerate(self.reserve)]
        return [
            RecordEntry(
                id=record.id,
                dataset=dataset,
                position=position,
                split=record.split,
                subject=record.subject,
                digest=digest,
                source=str(record.source),
                terms=self.ledger.name_of(record.terms),
            )
            for (position, record), digest in zip(placed, self.digests, strict=True)
        ]

    def terms_entries(self, dataset: str) -> list[TermsEntry]:
        """What the register keeps of the rows' terms, for the dataset with this id."""
        return self.ledger.entries(dataset)

    def finding_entries(self, dataset: str) -> list[FindingEntry]:
        """What the register keeps of each finding, for the dataset with this id."""
        return [
            FindingEntry(
                dataset=dataset,
                record=found.record,
                field=found.field,
                action=found.action,
                **dataclasses.asdict(found.finding),
            )
            for found in self.findings
        ]

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
                    handle.writelines(canonical_row(record) + b"\n" for record in records)
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


def canonical_row(record: Record) -> bytes:
    """The row as it is written and digested: canonical JSON on one line, without the line end."""
    return canonical_json(record.to_json())


def fingerprint_of(digests: Iterable[str]) -> str:
    """Merkle root (RFC 9162) over keyed row digests in hex, train, test, then reserve, each in file order."""
    return merkle_root(bytes.fromhex(digest) for digest in digests)


def read_records(path: Path) -> list[Record]:
    """The rows of ``train.jsonl`` or ``test.jsonl`` of a prepared dataset, in order."""
    return [Record.from_json(json.loads(line)) for line in path.read_bytes().splitlines()]


def fingerprint_of_folder(folder: Path, record_key: bytes) -> str:
    """The fingerprint, made anew from the rows that a written dataset holds."""
    files = [folder / name for name in _ROW_FILES if name != _RESERVE or (folder / name).exists()]
    lines = (line for file in files for line in file.read_bytes().splitlines())
    return fingerprint_of(keyed_digest(record_key, line) for line in lines)


def _unwritable(folder: Path, error: OSError) -> DataError:
    cure = "free some space" if error.errno == 28 else "check the folder and its permissions"
    return DataError(
        Fault("TW-DATA-028", error.strerror or "the disk refuses", str(folder), f"{cure}, then run it again")
    )
