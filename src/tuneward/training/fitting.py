"""Fitting: refuses a run that memory cannot hold, and finds the nearest one that it can.

Place on the road: after ``plan``, before the first step. Every proposal is computed like the plan itself, on the same
rows and the same measured model. Those that leave the result as it is come first: smaller windows, a smaller chunk of
logits, recomputed layers; a base of four bits comes last.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.base_model import Precision
from tuneward.training.allocator import peak_bytes, return_freed_memory
from tuneward.training.batches import Step, plan_steps
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Group
from tuneward.training.footprint import Footprint, measure
from tuneward.training.losses.objective import Objective
from tuneward.training.paper import four_bit_saving, paper_footprint
from tuneward.training.plan import MIB, Plan, available_bytes, make_plan, passing, resident_bytes
from tuneward.training.rows import Row, Rows
from tuneward.training.trainable import Trainable

#: A chunk of logits that is small and still costs little time.
SMALL_HEAD_MIB = 16

#: Smallest window that is proposed, in tokens, where rows are shorter than that.
SMALL_WINDOW = 128


@dataclass(frozen=True)
class Proposal:
    """Other settings for the same run.

    Attributes:
        settings: name under ``training`` → value.
        peak_bytes: predicted with them.
    """

    settings: Mapping[str, Any]
    peak_bytes: int

    @property
    def same_result(self) -> bool:
        """Whether the run leaves the same weights, up to rounding."""
        return "adapter.kind" not in self.settings

    def __str__(self) -> str:
        """As a cure: ``set training.window_tokens to 512``."""
        words = {True: "true", False: "false"}
        parts = [f"training.{name} to {words.get(value, value)}" for name, value in self.settings.items()]
        same = "the result stays the same" if self.same_result else "the base is kept in four bits"
        return f"set {' and '.join(parts)}: about {self.peak_bytes / MIB:,.0f} MiB; {same}"


@dataclass(frozen=True)
class Fitting:
    """What alternatives are computed from.

    Attributes:
        model: the base with what is trained.
        rows: the dataset.
        config: the training section as it was asked for.
        footprint: what a window leaves.
        replan: a smaller window → the run's steps with it.
    """

    model: PreTrainedModel
    rows: Sequence[Row]
    config: TrainingConfig
    footprint: Footprint
    replan: Callable[[int], Sequence[Step]]

    def proposals(self, plan: Plan) -> Iterator[Proposal]:
        """Other settings with what they take, the nearest to the asked ones first."""
        windows = self._smaller_windows(plan)
        head = {} if self.config.head_memory_mib <= SMALL_HEAD_MIB else {"head_memory_mib": SMALL_HEAD_MIB}
        again = {} if self.config.recompute == 1 else {"recompute": True}
        for window in windows:
            yield self._with(plan, {"window_tokens": window})
        if head:
            yield self._with(plan, head)
            for window in windows[-1:]:
                yield self._with(plan, {"window_tokens": window, **head})
        if again:
            yield self._with(plan, again)
            for window in windows:
                yield self._with(plan, {"window_tokens": window, **again})
            for window in windows[-1:]:
                yield self._with(plan, {"window_tokens": window, **again, **head})
        if self.config.adapter.kind == "lora":
            four = {"adapter.kind": "qlora"}
            yield self._with(plan, four)
            yield self._with(plan, {**four, **again})
            for window in windows[-1:]:
                yield self._with(plan, {**four, **again, "window_tokens": window, **head})

    def _smaller_windows(self, plan: Plan) -> list[int]:
        least = max(plan.longest_row, min(SMALL_WINDOW, plan.widest_window))
        sizes, size = [], plan.widest_window // 2
        while size > least:
            sizes.append(size)
            size //= 2
        return [*sizes, least] if least < plan.widest_window else []

    def _with(self, plan: Plan, settings: Mapping[str, Any]) -> Proposal:
        config = self.config.model_copy(update={k: v for k, v in settings.items() if "." not in k})
        steps = self.replan(config.window_tokens)
        windows = [window for step in steps for window in step.windows]
        memory = {**plan.memory, **passing(self.model, self.rows, windows, config, self.footprint)}
        if "adapter.kind" in settings:
            memory["weights"] -= four_bit_saving(self.model)
        return Proposal(settings, sum(memory.values()))


def plan_run(
    model: PreTrainedModel,
    trainable: Trainable,
    objective: Objective,
    *,
    rows: Rows,
    learned: Sequence[int],
    config: TrainingConfig,
    precision: Precision,
    group: Group,
) -> tuple[list[Step], Plan, Fitting]:
    """The course of a run, its plan and what alternatives are computed from; a run that cannot fit is refused.

    Args:
        model: with what is trained in it, no layer recomputed yet.
        trainable: what is trained.
        objective: what is minimised.
        rows: the dataset.
        learned: numbers of the rows that are trained on.
        config: the training section.
        precision: that the model was loaded in.
        group: the processes that train together.

    Raises:
        TrainingError: see :func:`refuse_what_cannot_fit`.
    """

    def replan(window_tokens: int) -> list[Step]:
        return plan_steps(
            rows,
            epochs=config.epochs,
            batch_tokens=config.batch_tokens,
            batch_rows=config.batch_rows,
            window_tokens=config.model_copy(update={"window_tokens": window_tokens}).room,
            seed=config.seed,
            weigh=objective.weigh,
            among=learned,
        )

    steps, device = replan(config.window_tokens), model.device.type
    if group.size > 1:  # no single process can pass a model that lies in parts
        footprint = paper_footprint(model.config, config.adapter, precision=precision)
    else:
        trainable.begin()
        footprint = measure(model, rows[int(learned[0])].ids.tolist())
        trainable.pause()
    for parameter in trainable.parameters.values():
        parameter.grad = None
    if device == "cpu":
        return_freed_memory()  # what the measuring took is free, and would be counted once more
    plan = make_plan(
        model,
        rows=rows,
        steps=steps,
        config=config,
        precision=precision,
        footprint=footprint,
        masters={**trainable.parameters, **objective.parameters},
        resident=resident_bytes(device),
        reached=peak_bytes(device),
        processes=group.size,
    )
    fitting = Fitting(model, rows, config, footprint, replan)
    refuse_what_cannot_fit(plan, available_bytes(group.size, device), fitting)
    return steps, plan, fitting


def refuse_what_cannot_fit(plan: Plan, available: int | None, fitting: Fitting) -> None:
    """Refuse a plan whose predicted peak exceeds what the machine has left.

    Args:
        plan: with the base already loaded.
        available: bytes that this process may take in all, or None where that is unknown.
        fitting: finds what would fit.

    Raises:
        TrainingError: with the parts, and the nearest settings that would fit.
    """
    if available is None or plan.needed_bytes <= available:
        return
    parts = ", ".join(f"{name} {size / MIB:,.0f}" for name, size in plan.memory.items())
    told = f"about {plan.needed_bytes / MIB:,.0f} MiB needed ({parts}), {available / MIB:,.0f} MiB free"
    least: Proposal | None = None
    for proposal in fitting.proposals(plan):
        if proposal.peak_bytes <= available:
            raise TrainingError(Fault("TW-TRAIN-006", told, "training", str(proposal)))
        if least is None or proposal.peak_bytes < least.peak_bytes:
            least = proposal
    cure = "choose a smaller base or a machine with more memory"
    if least is not None:
        cure = f"{cure}; the least that any setting here takes is about {least.peak_bytes / MIB:,.0f} MiB"
        cure = f"leave out or split the longest rows ({plan.longest_row} tokens), or {cure}"
    raise TrainingError(Fault("TW-TRAIN-006", told, "training", cure))
