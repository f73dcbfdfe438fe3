"""Building a dataset: files in, prepared rows with a fingerprint out.

Place on the road: what ``workflows.prepare`` calls; joins the other files of this room in their order (files, records,
screening, overlap, lengths, card). Writes nothing. Knows neither site nor audit log.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from tuneward.amounts import counted
from tuneward.data.answers import AnswerCheck, Judge
from tuneward.data.card import Story, make_card
from tuneward.data.config import DataConfig
from tuneward.data.contamination import Tested
from tuneward.data.content_summary import Training, make_summary
from tuneward.data.division import Division, divide
from tuneward.data.faults import Faults
from tuneward.data.files import DataFile, find_files
from tuneward.data.finding_log import FindingLog
from tuneward.data.inspecting import Inspecting
from tuneward.data.law import Law
from tuneward.data.legal import Ledger
from tuneward.data.lengths import Lengths, Ruler
from tuneward.data.likelihood import Likelihood, losses_of
from tuneward.data.measure import ChatTemplate
from tuneward.data.measuring import Measuring
from tuneward.data.overlap import find_overlap
from tuneward.data.prepared import Digests, Prepared, fingerprint_of
from tuneward.data.quality import Embed, judge_quality
from tuneward.data.reading import Reading
from tuneward.data.records import RecordMaker
from tuneward.data.rows import Joined, Rows, Selection
from tuneward.data.screening import Screening
from tuneward.data.shards import shard_of, shard_sizes
from tuneward.digests import keyed_digest
from tuneward.domain.policy import Policy
from tuneward.domain.record import Form, Split
from tuneward.errors import ModelError
from tuneward.inspection.inspector import standard
from tuneward.inspection.pseudonyms import Pseudonyms
from tuneward.licences import Use
from tuneward.progress import SILENT, Progress


def build(
    config: DataConfig,
    *,
    project_folder: Path,
    chat: ChatTemplate,
    context_tokens: int,
    policy: Policy,
    record_key: bytes,
    subject_key: bytes,
    pseudonym_key: bytes | None = None,
    inspecting: Inspecting | None = None,
    measuring: Measuring | None = None,
    form: Form = "conversation",
    answer_tokens: int = 0,
    judge: Judge | None = None,
    judge_training: bool = True,
    suites: Sequence[Tested] = (),
    likelihood: Likelihood | None = None,
    embed: Embed | None = None,
    title: str = "",
    use: Use = "internal",
    base: str = "",
    withdrawn: Collection[str] = (),
    today: date | None = None,
    scratch: Path | None = None,
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
        subject_key: the site's key for pseudonyms of subjects.
        pseudonym_key: the site's key for fakes in the place of findings; without it there are placeholders.
        inspecting: finds what the policy rules on; by the standard inspector where nothing is set.
        measuring: measures as ``chat`` does, maybe in more processes than this one.
        form: what the method learns from; rows of another kind are refused.
        answer_tokens: the longest answer that the evaluation asks for; test prompts must leave room for it.
        judge: says why an answer cannot serve as a reference; test rows with such an answer are refused.
        judge_training: whether such answers of training rows are counted and named; they are never removed.
        suites: items of the suites that the evaluation will use; training rows are looked up among them.
        likelihood: what the base thinks of rendered rows, where ``data.quality.perplexity`` asks for it.
        embed: texts to unit vectors, where ``data.quality.embeddings`` names a model.
        title: heads the card; the project's name.
        use: the declared use, which the data's licences must allow.
        base: the base model's name, for the summary of training content.
        withdrawn: pseudonyms of withdrawn consents and of subjects who withdrew.
        today: the day on which consents and retention are judged; the present one (UTC) when None.
        scratch: on whose disk rows lie until they are written; the system's folder for temporary files when None.
        progress: told of every row.

    Raises:
        DataError: every fault of every row, up to fifty and a count of the others.
        OSError: the disk of ``scratch`` is full.
        ModelError: when the chat template renders no row.
    """
    faults = Faults()
    context = _context(config, context_tokens, faults)
    files = find_files(config, project_folder=project_folder, faults=faults)
    reading = Reading()
    pseudonyms = None if pseudonym_key is None else Pseudonyms(pseudonym_key)
    screening = Screening(
        policy=policy,
        faults=faults,
        pseudonyms=pseudonyms,
        findings=FindingLog(scratch),
    )
    check = AnswerCheck(judge, of_training=judge_training)
    while_reading = Faults()
    law = Law(
        config=config,
        policy=policy,
        use=use,
        today=today or datetime.now(UTC).date(),
        key=subject_key,
        withdrawn=frozenset(withdrawn),
        faults=while_reading,
    )
    maker = RecordMaker(
        config=config,
        form=form,
        record_key=record_key,
        subject_key=subject_key,
        faults=while_reading,
        reading=reading,
        law=law,
    )
    read: dict[Split, Rows] = {"train": Rows(scratch), "test": Rows(scratch)}
    inspecting = inspecting or Inspecting(standard())
    _read(files, read, maker=maker, inspecting=inspecting, screening=screening, check=check, progress=progress)
    check.report(faults)
    law.report(files)
    faults.add_all(while_reading)
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
    screening.findings.move(division.moved)
    ruler = Ruler(
        measuring=measuring or Measuring(chat),
        context_tokens=context,
        engine_tokens=context_tokens,
        answer_tokens=answer_tokens,
        too_long=config.too_long,
        record_key=record_key,
        faults=faults,
    )
    measured = _measure(ruler, division, scratch, faults=faults, progress=progress)
    kept_verdicts = {record.desirable for record in measured["train"].kept} if form == "judged" else set()
    if len(kept_verdicts) == 1 and not len(faults):
        label = "true" if kept_verdicts == {True} else "false"
        message = f"every label of {counted(len(measured['train'].kept), 'row')} is {label}"
        cure = "add answers of the other kind: the loss weighs one against the other"
        faults.add("TW-DATA-037", message, place="data.train", cure=cure)
    for split in ("train", "test"):
        if reading.rows[split] and not measured[split].kept and not len(faults):
            cure = "see which rows the settings and the policy drop, or add rows"
            message = f"none of {counted(reading.rows[split], 'row')} is left"
            faults.add("TW-DATA-020", message, place=f"data.{split}", cure=cure)
    faults.raise_if_any()

    kept = {split: measured[split].kept for split in measured}
    digests = Digests(keyed_digest(record_key, line) for rows in kept.values() for line in rows.lines)
    fingerprint = fingerprint_of(digests)
    ledger = Ledger(law).add_all(kept)
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
        shards=shard_sizes(kept["train"], shards=config.split.shards, key=record_key),
        lengths=measured,
        check=check,
        fingerprint=fingerprint,
        ledger=ledger,
    )
    card = make_card(story)
    training = Training(story.title, base, kept["train"].terms, measured["train"].tokens, law.today)
    return Prepared(
        **kept,
        digests=digests,
        fingerprint=fingerprint,
        findings=screening.findings,
        judged=quality,
        canaries=tuple(division.canaries),
        counts=card["counts"],
        card=card,
        ledger=ledger,
        summary=make_summary(config.summary, training),
        shard_of=partial(shard_of, shards=config.split.shards, key=record_key),
    )


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
    files: list[DataFile],
    rows: Mapping[Split, Rows],
    *,
    maker: RecordMaker,
    inspecting: Inspecting,
    screening: Screening,
    check: AnswerCheck,
    progress: Progress,
) -> None:
    progress.begin("reading and inspecting rows", unit="rows")
    records = (record for file in files for record in maker.records(file))
    for item in inspecting.each(records, maker.faults):
        screening.faults.add_all(item.faults)
        if item.record is None:  # the last
            continue
        progress.advance()
        screened = screening.screen(item.record, item.parts, item.found)
        if screened and (maker.law is None or maker.law.admits_content(screened, screening.staying)):
            check.look(screened, rows[screened.split].add(screened))
        screening.faults.add_all(maker.faults.take())  # of the law, which looks once more
    progress.end()
    if inspecting.journal and inspecting.journal.taken:
        progress.say(f"{counted(inspecting.journal.taken, 'row')} had been inspected before")
    if inspecting.workers and inspecting.workers.lost:
        ended = counted(inspecting.workers.lost, "process that inspects has", "processes that inspect have")
        progress.say(f"{ended} ended; their rows were inspected here")


def _measure(
    ruler: Ruler, division: Division, scratch: Path | None, *, faults: Faults, progress: Progress
) -> dict[Split, Lengths]:
    sides: dict[Split, Selection | Joined] = {
        "train": division.train,
        "test": division.test,
        "reserve": division.reserve,
    }
    measured: dict[Split, Lengths] = {}
    progress.begin("measuring rows in tokens", total=sum(map(len, sides.values())), unit="rows")
    for split, records in sides.items():
        try:
            measured[split] = ruler.measure(records, Rows(scratch), progress=progress)
        except ModelError as error:
            if not len(faults):
                raise
            for fault in error.faults:
                faults.add(fault.code, fault.message, place=fault.place, cure=fault.cure)
            measured[split] = Lengths()
    progress.end()
    return measured
