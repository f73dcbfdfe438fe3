"""A job: everything that one training needs, as files and values; and what it leaves.

Place on the road: between the training process (or a notebook, or a test) and the loop. Knows no site and no database.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import torch
from transformers import PreTrainedModel

from tuneward.modeling.adapter_files import SCORE
from tuneward.modeling.base_model import Precision, best_precision, load_base
from tuneward.modeling.generate import Answering, context_tokens
from tuneward.modeling.machine import threads
from tuneward.modeling.scoring import scoring_class
from tuneward.modeling.whole_model import complete
from tuneward.training.allocator import keep_freed_memory
from tuneward.training.batches import Step
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.config import TrainingConfig
from tuneward.training.curve import Curve, draw
from tuneward.training.distributed import ALONE, Group, Workers
from tuneward.training.embedding_noise import EmbeddingNoise
from tuneward.training.estimate import Estimating
from tuneward.training.figures import figures_of
from tuneward.training.fitting import plan_run, refuse_what_cannot_fit
from tuneward.training.held_out import calibrated, make_validation, read_pairs, validated
from tuneward.training.interruption import Stopped
from tuneward.training.loop import Emit, Loop
from tuneward.training.losses.objective import Objective
from tuneward.training.losses.reward import Reward
from tuneward.training.objectives import check_objective, make_objective
from tuneward.training.optimizer import require_optimizer
from tuneward.training.plan import Plan, available_bytes
from tuneward.training.probe import probed
from tuneward.training.recompute import recompute
from tuneward.training.reference import add_reference
from tuneward.training.rows import Examples, Rows
from tuneward.training.samples import Speaker
from tuneward.training.sharding import Asked, States, states_of
from tuneward.training.start import make_trainable, remarks, share_trainable
from tuneward.training.tokenising import read_rows
from tuneward.training.tracking import Tracked, make_trackers
from tuneward.training.trainable import Trainable
from tuneward.training.validation import Validation, hold_out, read_measured


class Chat(Examples, Speaker, Protocol):
    """Tokenizer and template of a base, both ways."""


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        rows: ``train.jsonl`` of a prepared dataset.
        base: folder of the base model.
        base_name: how the adapter names its base: a name or digest.
        config: the training section.
        folder: where checkpoints, curve and adapter go; the same folder goes on where it stopped.
        inputs_digest: digest of everything that the result depends on; checkpoints of other inputs are refused.
        start: PEFT folder of the adapter that training begins with, or a whole model's where every weight is trained;
            None for the base.
        start_name: its digest.
        held_out: records of the same dataset that are not trained on, such as its ``test.jsonl``; a reward model's
            calibration is measured on the pairs among them. None for none.
        cache: folder of tokenised datasets and reference log-probabilities that runs share; ``folder`` when None. It
            holds content of rows, and everything in it can be made again.
    """

    rows: Path
    base: Path
    base_name: str
    config: TrainingConfig
    folder: Path
    inputs_digest: str
    start: Path | None = None
    start_name: str | None = None
    held_out: Path | None = None
    cache: Path | None = None

    @property
    def loaded(self) -> Path:
        """Folder of the model that is loaded: the base's, or that of the whole model that training begins with."""
        return self.start if self.start and self.config.adapter.kind == "full" else self.base

    @property
    def shared(self) -> Path:
        """Where what other runs can use is kept."""
        return self.cache or self.folder


@dataclass(frozen=True)
class Outcome:
    """What a training left.

    Attributes:
        status: ``finished``, or ``stopped`` at a checkpoint.
        figures: counts, losses, seconds and memory; empty when stopped.
        adapter: PEFT folder of the adapter.
        curve: JSON lines of the loss curve.
        picture: the curve as SVG.
    """

    status: Literal["finished", "stopped"]
    figures: dict[str, Any]
    adapter: Path
    curve: Path
    picture: Path


@dataclass(frozen=True)
class Prepared:
    """A job whose model and rows are in memory, and that is known to fit.

    ``asked`` is the model as samples ask it, ``held`` are the numbers of the rows held out.
    """

    model: PreTrainedModel
    states: States
    asked: Answering
    trainable: Trainable
    objective: Objective
    rows: Rows
    held: list[int]
    steps: list[Step]
    plan: Plan
    held_out: Rows | None = None

    def loop(
        self,
        job: Job,
        group: Group = ALONE,
        *,
        emit: Emit = lambda event: None,
        stop: Callable[[], bool] = lambda: False,
        validation: Validation | None = None,
    ) -> Loop:
        """The loop that trains what is ready; see :class:`tuneward.training.loop.Loop`."""
        return Loop(
            self.model,
            self.trainable,
            self.objective,
            rows=self.rows,
            steps=self.steps,
            config=job.config,
            checkpoints=Checkpoints(job.folder / "checkpoints", job.inputs_digest),
            emit=emit,
            stop=stop,
            validation=validation,
            group=group,
            states=self.states,
        )


def prepare(job: Job, chat: Chat, *, device: str = "cpu", group: Group = ALONE) -> Prepared:
    """Load, check and plan a job without training.

    Raises:
        TunewardError: base, rows or adapter are not usable, the architecture is computed wrongly, memory is too small.
    """
    config = job.config
    check_objective(config)
    require_optimizer(config, device, processes=group.size)
    precision: Precision = best_precision(device) if config.precision == "auto" else config.precision
    # what will be sharded never lies on one device whole; four-bit layers are made on the device, one at a time
    kept = config.adapter.quantisation
    model = load_base(
        job.loaded,
        precision=precision,
        device="cpu" if group.size > 1 and kept == "none" else device,
        quantisation=kept,
    )
    if config.method == "reward":
        scoring_class(model)  # what cannot be saved in the end is refused at the start
    text: Any = model.config.get_text_config()
    objective = make_objective(config, hidden=text.hidden_size, device=device)
    held_out = None
    with group.in_turn():
        rows = _read(job, job.rows, chat, model, objective)
        if isinstance(objective, Reward) and job.held_out is not None:
            held_out = read_pairs(job.held_out, lambda file: _read(job, file, chat, model, objective), job.folder)
    learned, held = hold_out(rows.groups, fraction=config.validation.fraction, seed=config.seed)
    states: States
    if isinstance(group, Workers):
        trainable, root = share_trainable(model, config, group, start=job.start, precision=precision)
        states, asked = root.states, cast(Answering, Asked(root))
    else:
        trainable, states = make_trainable(model, config, start=job.start), states_of(model)
        asked = cast(Answering, model)
    steps, plan, fitting = plan_run(
        model, trainable, objective, rows=rows, learned=learned, config=config, precision=precision, group=group
    )
    recompute(model, config.recompute)
    if config.neftune_alpha:
        EmbeddingNoise(model, config.neftune_alpha)
    ready = Prepared(model, states, asked, trainable, objective, rows, held, steps, plan, held_out)
    if group.size > 1:  # a window would have to be passed by all of them together
        return ready
    plan = probed(plan, ready.loop(job), fitting.footprint)
    refuse_what_cannot_fit(plan, available_bytes(device=device), fitting)
    return replace(ready, plan=plan)


def _read(job: Job, path: Path, chat: Examples, model: PreTrainedModel, objective: Objective) -> Rows:
    embedding: Any = model.get_input_embeddings()
    return read_rows(
        path,
        chat,
        cache=job.shared / "tokens",
        form=objective.form,
        loss_on="all" if job.config.method == "pretrain" else job.config.loss_on,
        context_tokens=context_tokens(model),
        vocabulary=embedding.weight.shape[0],
    )


def train(
    job: Job,
    chat: Chat,
    *,
    emit: Emit,
    stop: Callable[[], bool] = lambda: False,
    device: str = "cpu",
    group: Group = ALONE,
) -> Outcome:
    """Train, or go on with, one job.

    Args:
        job: what to train on what.
        chat: tokenizer and template of the job's base.
        emit: receives the events of the process protocol as plain dicts.
        stop: asked before each window; True stops the run at a checkpoint.
        device: ``cpu`` or ``cuda``.
        group: the processes that train together; each of them calls this function, and rank 0 alone emits and writes.

    Raises:
        TunewardError: see :func:`prepare` and :meth:`Loop.run`; checkpoints stay.
    """
    keep_freed_memory()
    torch.set_num_threads(threads())
    torch.manual_seed(job.config.seed)
    ready = prepare(job, chat, device=device, group=group)
    torch.manual_seed(job.config.seed + group.rank)  # of dropout
    if group.rank:
        emit = _silent
    emit({"event": "plan", **ready.plan.to_json()})
    for text in remarks(ready.model, job.config, ready.steps, processes=group.size):
        emit({"event": "note", "text": text})
    job.folder.mkdir(parents=True, exist_ok=True)
    emit = Estimating(emit, model=ready.model, rows=ready.rows, steps=ready.steps, config=job.config, group=group)
    tracked = Tracked(emit, [] if group.rank else make_trackers(job.config, job.folder))
    finished = False
    try:
        tracked.settings(job.config, ready.plan.to_json())
        outcome = _train(job, chat, ready, tracked=tracked, stop=stop, device=device, group=group)
        finished = outcome.status == "finished"
        return outcome
    finally:
        tracked.close(finished=finished)


def _train(
    job: Job,
    chat: Chat,
    ready: Prepared,
    *,
    tracked: Tracked,
    stop: Callable[[], bool],
    device: str,
    group: Group,
) -> Outcome:
    def stop_together() -> bool:
        return group.any(stop())

    validation = make_validation(
        ready.held,
        ready.rows,
        ready.steps,
        ready.objective,
        model=ready.asked,
        speaker=chat,
        config=job.config,
        folder=job.folder,
        group=group,
    )
    loop = ready.loop(job, group, emit=tracked, stop=stop_together, validation=validation)
    curve_path, picture, adapter = job.folder / "curve.jsonl", job.folder / "loss.svg", job.folder / "adapter"
    stopped = Outcome("stopped", {}, adapter, curve_path, picture)
    if ready.objective.needs_reference:
        kept = "" if job.config.adapter.quantisation == "none" else job.config.adapter.quantisation
        try:
            add_reference(
                ready.rows,
                loop.look,
                folder=job.shared / "reference",
                made_from=(job.base_name, ready.plan.precision, kept, job.start_name or ""),
                window_tokens=job.config.room,
                stop=stop_together,
                told=lambda rows: tracked({"event": "reference", "rows": rows, "of": len(ready.rows)}),
                group=group,
            )
        except Stopped:
            return stopped
    curves: list[Curve] = []

    def open_curve(upto: int) -> Curve:
        curves.append(Curve(curve_path, upto=upto, written=group.rank == 0))
        return curves[0]

    finished = loop.run(open_curve)
    (curve,) = curves
    title = f"Training loss, {len(curve.points)} steps"
    if group.rank == 0:
        drawn = draw(
            curve.points,
            title=title,
            unit=ready.objective.unit,
            validation=[] if validation is None else [(m.step, m.loss) for m in read_measured(validation.path)],
            best=None if validation is None else validation.course.best_step,
        )
        picture.write_text(drawn, encoding="utf-8")
    if not finished:
        return stopped
    loop.take_best()
    if group.rank == 0 or ready.trainable.shards:
        score = ready.objective.parameters.get(f"{SCORE}.weight")
        ready.trainable.save(adapter, base_name=job.base_name, score=score)
        if group.rank == 0 and job.config.adapter.kind == "full":
            complete(adapter, base=job.loaded, base_name=job.start_name or job.base_name, answers=score is None)
    group.wait()
    figures = figures_of(
        loop, ready.plan, rows=len(ready.rows) - len(ready.held), losses=(curve.points[0].loss, curve.last_loss())
    )
    if validation is not None:
        figures |= validated(validation, done=loop.done)
    if ready.held_out is not None:
        try:
            figures |= calibrated(ready.held_out, loop)
        except Stopped:  # the run is whole; the next start measures again
            return stopped
    return Outcome("finished", figures, adapter, curve_path, picture)


def _silent(event: dict[str, Any]) -> None:
    """Rank 0 tells what there is to tell."""
