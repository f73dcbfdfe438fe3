"""Building a dataset: files in, prepared rows with a fingerprint out.

Place on the road: what ``workflows.prepare`` calls; joins the other files of this room in their order (files, records,
screening, overlap, lengths, card). Writes nothing until asked, and then only into the folder it is given. Knows neither
site nor audit log.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.data.answers import AnswerCheck, Judge
from tuneward.data.canaries import Canary
from tuneward.data.card import Story, make_card, render_card
from tuneward.data.config import DataConfig
from tuneward.data.contamination import Tested
from tuneward.data.division import divide
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile, find_files
from tuneward.data.lengths import Lengths, Ruler
from tuneward.data.likelihood import Likelihood, losses_of
from tuneward.data.measure import ChatTemplate
from tuneward.data.overlap import find_overlap
from tuneward.data.quality import Embed, RowQuality, judge_quality
from tuneward.data.reading import Reading
from tuneward.data.records import RecordMaker
from tuneward.data.screening import RowFinding, Screening
from tuneward.data.shards import shard_sizes
from tuneward.digests import canonical_json, keyed_digest, merkle_root
from tuneward.domain.dataset import RecordEntry
from tuneward.domain.finding import FindingEntry
from tuneward.domain.policy import Policy
from tuneward.domain.record import Form, Record, Split
from tuneward.errors import DataError, Fault, ModelError
from tuneward.progress import SILENT, Progress

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
            )
            for (position, record), digest in zip(placed, self.digests, strict=True)
        ]

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
        """Write ``train.jsonl``, ``test.jsonl``, ``findings.jsonl``, ``quality.jsonl`` and the card into a new folder.

        ``reserve.jsonl`` and ``canaries.jsonl`` are written where the settings ask for them. The same rows, settings
        and keys give the same bytes.

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
            card = json.dumps(self.card, indent=2, ensure_ascii=False, allow_nan=False)
            (folder / "card.json").write_text(card + "\n", encoding="utf-8")
            (folder / "card.html").write_text(render_card(self.card), encoding="utf-8")
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _unwritable(folder, error) from None


def build(
    config: DataConfig,
    *,
    project_folder: Path,
    chat: ChatTemplate,
    context_tokens: int,
    policy: Policy,
    record_key: bytes,
    subject_key: bytes,
    form: Form = "conversation",
    answer_tokens: int = 0,
    judge: Judge | None = None,
    judge_training: bool = True,
    suites: Sequence[Tested] = (),
    likelihood: Likelihood | None = None,
    embed: Embed | None = None,
    title: str = "",
    progress: Progress = SILENT,
) -> Prepared:
    """Read, check, screen, deduplicate and measure the project's data.

    Args:
        config: the project's ``data`` section.
        project_folder: the folder that relative names start from.
        chat: the base's chat template and tokenizer.
        context_tokens: the longest row that the base takes.
        policy: says what happens to findings and to rows that also stand in the test set.
        record_key: the site's key for record ids and row digests.
        subject_key: the site's key for pseudonyms.
        form: what the method learns from; rows of another kind are refused.
        answer_tokens: the longest answer that the evaluation asks for; test prompts must leave room for it.
        judge: says why an answer cannot serve as a reference; test rows with such an answer are refused.
        judge_training: whether such answers of training rows are counted and named; they are never removed.
        suites: items of the suites that the evaluation will use; training rows are looked up among them.
        likelihood: what the base thinks of rendered rows, where ``data.quality.perplexity`` asks for it.
        embed: texts to unit vectors, where ``data.quality.embeddings`` names a model.
        title: heads the card; the project's name.
        progress: told of every row.

    Raises:
        DataError: every fault of every row, up to fifty and a count of the others.
        ModelError: when the chat template renders no row.
    """
    faults = Faults()
    context = _context(config, context_tokens, faults)
    files = find_files(config, project_folder=project_folder, faults=faults)
    reading = Reading()
    screening = Screening(policy=policy, faults=faults)
    check = AnswerCheck(judge, of_training=judge_training)
    maker = RecordMaker(
        config=config, form=form, record_key=record_key, subject_key=subject_key, faults=faults, reading=reading
    )
    read = _read(files, maker=maker, screening=screening, check=check, progress=progress)
    check.report(faults)
    overlap = find_overlap(
        read["train"], read["test"], policy=policy, faults=faults, config=config.quality, suites=suites
    )
    quality = judge_quality(
        overlap,
        outside=check.outside,
        config=config.quality,
        losses=losses_of(overlap.kept, chat=chat, likelihood=likelihood, context_tokens=context) if likelihood else (),
        embed=embed,
    )
    division = divide(
        quality.kept,
        quality.clusters,
        given_test=read["test"],
        config=config,
        form=form,
        cannot_test=check.outside,
        faults=faults,
    )
    screening.move(division.moved)
    ruler = Ruler(
        chat=chat,
        context_tokens=context,
        engine_tokens=context_tokens,
        answer_tokens=answer_tokens,
        too_long=config.too_long,
        record_key=record_key,
        faults=faults,
    )
    sides: dict[Split, list[Record]] = {"train": division.train, "test": division.test, "reserve": division.reserve}
    measured = _measure(ruler, sides, faults=faults, progress=progress)
    kept_verdicts = {record.desirable for record in measured["train"].kept}
    if form == "judged" and len(kept_verdicts) == 1 and not len(faults):
        message = (
            f"every label of {len(measured['train'].kept):,} rows is {'true' if kept_verdicts == {True} else 'false'}"
        )
        cure = "add answers of the other kind: the loss weighs one against the other"
        faults.add("TW-DATA-037", message, place="data.train", cure=cure)
    for split in ("train", "test"):
        if reading.rows[split] and not measured[split].kept and not len(faults):
            cure = "see which rows the settings and the policy drop, or add rows"
            message = f"none of {reading.rows[split]:,} rows is left"
            faults.add("TW-DATA-020", message, place=f"data.{split}", cure=cure)
    faults.raise_if_any()

    train, test, reserve = (tuple(measured[split].kept) for split in ("train", "test", "reserve"))
    digests = tuple(keyed_digest(record_key, canonical_row(record)) for record in (*train, *test, *reserve))
    fingerprint = fingerprint_of(digests)
    story = Story(
        title=title or project_folder.resolve().name,
        form=form,
        config=config,
        policy=policy,
        context_tokens=context,
        files=tuple(files),
        reading=reading,
        screening=screening,
        overlap=overlap,
        quality=quality,
        division=division,
        shards=shard_sizes(train, shards=config.split.shards, key=record_key),
        lengths=measured,
        check=check,
        fingerprint=fingerprint,
    )
    card = make_card(story)
    return Prepared(
        train=train,
        test=test,
        reserve=reserve,
        digests=digests,
        fingerprint=fingerprint,
        findings=tuple(screening.findings),
        quality=tuple(quality.noted()),
        canaries=tuple(division.canaries),
        counts=card["counts"],
        card=card,
    )


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


def _context(config: DataConfig, context_tokens: int, faults: Faults) -> int:
    if config.context_tokens is not None and config.context_tokens > context_tokens:
        faults.add(
            "TW-DATA-027",
            f"{config.context_tokens:,} tokens are asked for, the base takes {context_tokens:,}",
            place="data.context_tokens",
            cure=f"set it to at most {context_tokens}, or leave it out",
        )
        return context_tokens
    return config.context_tokens or context_tokens


def _read(
    files: list[DataFile], *, maker: RecordMaker, screening: Screening, check: AnswerCheck, progress: Progress
) -> dict[Split, list[Record]]:
    rows: dict[Split, list[Record]] = {"train": [], "test": []}
    progress.begin("reading and inspecting rows", unit="rows")
    for file in files:
        for record in maker.records(file):
            progress.advance()
            screened = screening.screen(record)
            if screened:
                check.look(screened)
                rows[file.split].append(screened)
    progress.end()
    return rows


def _measure(
    ruler: Ruler, rows: Mapping[Split, list[Record]], *, faults: Faults, progress: Progress
) -> dict[Split, Lengths]:
    measured: dict[Split, Lengths] = {}
    progress.begin("measuring rows in tokens", total=sum(len(r) for r in rows.values()), unit="rows")
    for split, records in rows.items():
        try:
            measured[split] = ruler.measure(records, progress=progress)
        except ModelError as error:
            if not len(faults):
                raise
            for fault in error.faults:
                faults.add(fault.code, fault.message, place=fault.place, cure=fault.cure)
            measured[split] = Lengths()
    progress.end()
    return measured


def _unwritable(folder: Path, error: OSError) -> DataError:
    cure = "free some space" if error.errno == 28 else "check the folder and its permissions"
    return DataError(
        Fault("TW-DATA-028", error.strerror or "the disk refuses", str(folder), f"{cure}, then run it again")
    )
