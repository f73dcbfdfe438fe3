"""Step 2: from the project's files to a dataset that may train, with its data card."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from tuneward.data.dataset import build
from tuneward.data.inspecting import Inspecting
from tuneward.data.inspection_journal import InspectionJournal
from tuneward.data.likelihood import Likelihood
from tuneward.data.measuring import Measuring, make_processes
from tuneward.data.quality import Embed
from tuneward.digests import digest_value
from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.errors import Fault, ModelError
from tuneward.evaluation.tasks import make_task
from tuneward.governance.change import change, permit
from tuneward.governance.consent import mark, withdrawals
from tuneward.governance.entering import enter, sweep
from tuneward.ids import new_id
from tuneward.inspection.identity import inspector_digest, rules_digest
from tuneward.inspection.inspector import make_inspector
from tuneward.inspection.workers import make_workers
from tuneward.modeling.chat import Chat
from tuneward.progress import SILENT, Progress
from tuneward.storage.database import now
from tuneward.workflows.licence import licence_in_force, refuse_undecided
from tuneward.workflows.pull import refuse_forbidden_use
from tuneward.workflows.road import Road, dataset_inputs, row_form, survey
from tuneward.workflows.workspace import Workspace

#: The command that asks for permission; it wants a justification.
ASK = 'tuneward approve request --why "…"'
_MOST_WORKERS: Final = 8


@dataclass(frozen=True)
class PrepareResult:
    """What ``prepare`` did.

    Attributes:
        dataset: the dataset; an earlier one where its rows are the same.
        counts: what came in, what left and why, findings by kind and action.
        card: path of the data card (HTML) in the site.
        reused: True when nothing had changed since it was made.
        next: the command that comes next.
    """

    dataset: Dataset
    counts: Mapping[str, Any]
    card: str
    reused: bool
    next: str


def prepare(workspace: Workspace, *, workers: int | None = None, progress: Progress = SILENT) -> PrepareResult:
    """Read, inspect, clean, check and fingerprint the project's rows.

    When it is killed, the next call takes what was inspected from a journal (:mod:`data.inspection_journal`) and makes
    the same dataset, to the byte; rows that it had begun to enter into the register are removed first.

    Args:
        workspace: the project.
        workers: processes that inspect and measure rows beside this one where there are some thousands of them; below
            two none. None: one for each of up to eight cores. Their number changes nothing in the dataset.
        progress: told of every row, and of rows that had been inspected before.

    Raises:
        ConfigError: a term list or pattern that cannot be used, every fault at once.
        DataError: rows or files that cannot be used, every fault at once; nothing is stored then.
        ModelError: the base is not pulled, its chat template does not render, or its licence forbids the use.
    """
    office, project = workspace.office, workspace.project
    permit(office, "dataset.prepare")
    with workspace.site.lock("prepare"):
        sweep(office)
        road = survey(workspace)
        base = require_base(workspace, road)
        refuse_undecided(office, base)
        with workspace.site.database.read() as connection:
            refuse_forbidden_use(licence_in_force(connection, base), project.use)
        task = make_task(project.evaluation, project_folder=workspace.folder)
        artifacts = workspace.site.artifacts
        if road.dataset and not artifacts.check(road.dataset.tree):
            return _result(workspace, road.dataset, reused=True)
        if road.reason:
            progress.say(f"{road.reason}; they are inspected again")
        inputs = dataset_inputs(workspace, base)
        with workspace.site.database.read() as connection:
            withdrawn = {known.id for known in withdrawals(connection)}
        dataset_id = new_id("dat")
        count = _cores() if workers is None else workers
        base_folder = artifacts.tree(base.id)
        chat = Chat.load(base_folder)
        with (
            workspace.site.scratch() as scratch,
            _inspecting(workspace, scratch, count, progress) as inspecting,
            _measuring(base_folder, chat, count, progress) as measuring,
        ):
            prepared = build(
                project.data,
                project_folder=workspace.folder,
                chat=chat,
                context_tokens=base.context_tokens,
                policy=office.policy,
                record_key=office.keys.secret("records"),
                subject_key=office.keys.secret("subjects"),
                pseudonym_key=office.keys.secret("pseudonyms"),
                inspecting=inspecting,
                measuring=measuring,
                form=row_form(project.training),
                answer_tokens=project.evaluation.task.max_tokens,
                judge=task.reference_problem,
                judge_training=task.kind == "json",
                likelihood=_likelihood(workspace, base),
                embed=_embed(workspace),
                title=project.project,
                use=project.use,
                base=base.name,
                withdrawn=withdrawn,
                scratch=scratch,
                progress=progress,
            )
            folder = scratch / "dataset"
            prepared.write(folder)
            tree = artifacts.put_tree(folder)
        dataset = Dataset(
            id=dataset_id,
            project=project.project,
            fingerprint=prepared.fingerprint,
            tree=tree,
            inputs_digest=inputs,
            base=base.id,
            train_rows=len(prepared.train),
            test_rows=len(prepared.test),
            counts=prepared.counts,
            created_at=now(),
            terms=prepared.ledger.digest,
            inspector=rules_digest(),
        )
        rows, found = prepared.entries(dataset.id), prepared.finding_entries(dataset.id)
        terms = prepared.terms_entries(dataset.id)
        total = len(prepared.digests) + len(prepared.findings) + len(terms)
        progress.begin("entering rows and findings", total=total, unit="entries")
        entered = enter(office, dataset, chain(rows, found, terms), progress=progress)
        progress.end()
        with change(office, "dataset.prepare", dataset.id) as c:
            c.put_entered(entered)
            c.link(base, dataset)
            for late in withdrawals(c.connection):  # recorded while the rows were read
                if late.id not in withdrawn:
                    mark(c, late, dataset=dataset.id)
            c.note(fingerprint=dataset.fingerprint, train_rows=dataset.train_rows, test_rows=dataset.test_rows)
        dataset = survey(workspace).dataset or dataset
    return _result(workspace, dataset, reused=False)


@contextmanager
def _inspecting(workspace: Workspace, scratch: Path, count: int, progress: Progress) -> Iterator[Inspecting]:
    """What finds in rows what the policy rules on: an inspector, processes beside it, and what was found before."""
    settings, folder, office = workspace.project.inspection, workspace.folder, workspace.office
    inspector = make_inspector(settings, folder=folder)
    name = digest_value(workspace.project.project)
    journal = InspectionJournal(
        workspace.site.inspection_folder / f"{name}.journal",
        inspector=inspector_digest(settings, folder=folder),
        key=office.keys.secret("records"),
        scratch=scratch,
    )
    workers = make_workers(settings, folder, count=count, inspector=inspector, told=progress.say) if count > 1 else None
    try:
        yield Inspecting(inspector, workers, journal)
        journal.finish()
    finally:
        journal.close()
        if workers:
            workers.end()


@contextmanager
def _measuring(folder: Path, chat: Chat, count: int, progress: Progress) -> Iterator[Measuring]:
    """What counts the tokens of rows: the base's template and tokenizer, here and in processes beside this one."""
    processes = make_processes(folder, count=count, chat=chat, told=progress.say) if count > 1 else None
    try:
        yield Measuring(chat, processes)
    finally:
        if processes:
            processes.end()


def _cores() -> int:
    """Processes that this one may keep busy; more than eight wait for it, since it reads and screens alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_WORKERS)


def require_base(workspace: Workspace, road: Road) -> Base:
    """The project's base, or the error that says how to get it."""
    if road.base is None:
        raise ModelError(
            Fault(
                "TW-BASE-050",
                f"the base {workspace.project.base!r} is not in this site",
                "tuneward.yaml: base",
                "run `tuneward pull`",
            )
        )
    return road.base


def _likelihood(workspace: Workspace, base: Base) -> Likelihood | None:
    """The base's judgement of rows, where the settings ask for it; the model is loaded when the first row is judged."""
    if not workspace.project.data.quality.perplexity:
        return None

    def judge(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Sequence[float]:
        from tuneward.modeling.base_model import best_precision, load_base
        from tuneward.modeling.likelihood import losses

        return losses(load_base(workspace.site.artifacts.tree(base.id), precision=best_precision()), rows)

    return judge


def _embed(workspace: Workspace) -> Embed | None:
    """The sentence model that the settings name, relative to the project's folder."""
    named = workspace.project.data.quality.embeddings
    if named is None:
        return None
    from tuneward.modeling.embedding import Embedder

    return Embedder(workspace.folder / named).embed


def _result(workspace: Workspace, dataset: Dataset, *, reused: bool) -> PrepareResult:
    return PrepareResult(
        dataset=dataset,
        counts=dataset.counts,
        card=str(workspace.site.artifacts.tree(dataset.tree) / "card.html"),
        reused=reused,
        next=ASK if workspace.office.policy.approval_required else "tuneward train",
    )
