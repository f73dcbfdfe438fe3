"""Checks of a run's course: stopped and gone on with, and stopped by a number that is none.

Place on the road: the part of the self-check about ``training.loop`` and ``checkpoint``.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuneward.errors import TrainingError
from tuneward.modeling.lora import LoraLinear
from tuneward.training.checkpoint import Checkpoints
from tuneward.training.curve import Curve
from tuneward.training.loop import Loop
from tuneward.training.selfcheck.statement import Measured, Statement, unequal
from tuneward.training.selfcheck.subject import Subject

#: Two windows a step, so that a run can stop within one; dropout, so that random state counts.
SETTINGS: dict[str, Any] = {"batch_rows": 2, "window_tokens": 1, "epochs": 1.5}
DROPOUT = 0.2


def resumed(subject: Subject) -> Measured:
    """Adapter, optimizer and losses of a run, and of one stopped in the middle of its second step and gone on with."""
    whole = _run(subject, subject.new_folder(), stop_after=None)
    folder = subject.new_folder()
    _run(subject, folder, stop_after=3)
    torch.manual_seed(99)  # a new process has another random state
    again = _run(subject, folder, stop_after=None, begun=True)
    return Measured(
        unequal(again, whole), subject.cut.told, unit="numbers", detail="the run that went on ended elsewhere"
    )


def _run(subject: Subject, folder: Path, *, stop_after: int | None, begun: bool = False) -> dict[str, Tensor]:
    """What a run ends with; ``stop_after`` windows it is asked to stop."""
    adapted = subject.fresh(filled=False)
    for layer in adapted.layers.values():
        if isinstance(layer, LoraLinear):  # experts have none
            layer.dropout = DROPOUT
    if not begun:
        torch.manual_seed(0)
    asked = iter([False] * (10**6 if stop_after is None else stop_after))
    loop = subject.loop(
        adapted,
        subject.rows("conversation"),
        folder=folder,
        stop=lambda: next(asked, True),
        **SETTINGS,
    )
    loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    ended = {f"adapter/{name}": parameter.detach() for name, parameter in loop.parameters.items()}
    for name, parameter in loop.parameters.items():
        ended |= {f"{key}/{name}": value for key, value in loop.optimizer.state[parameter].items()}
    losses = [point.loss for point in Curve(folder / "curve.jsonl", upto=10**9).points]
    return {**ended, "losses": torch.tensor(losses), "done": torch.tensor(loop.done)}


def not_a_number(subject: Subject) -> Measured:
    """An adapter poisoned after a run's first step: it stops in the second, tells rows, keeps the first."""
    folder, adapted = subject.new_folder(), subject.fresh(filled=False)

    def poison(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint":
            with torch.no_grad():
                next(iter(adapted.layers.values())).a.fill_(float("nan"))

    rows = subject.rows("conversation")
    loop: Loop = subject.loop(adapted, rows, folder=folder, emit=poison, checkpoint_seconds=1e-9, **SETTINGS)
    try:
        loop.run(lambda upto: Curve(folder / "curve.jsonl", upto=upto))
    except TrainingError as error:
        (fault,) = error.faults
        names = [rows[i].id for window in loop.steps[1].windows for i in window]
        kept = Checkpoints(folder / "checkpoints", "selfcheck").newest()
        good = kept is not None and kept.step == 1 and all(_finite(n, t) for n, t in kept.tensors.items())
        held = {
            "the fault is another": fault.code == "TW-TRAIN-007",
            "the step is not named": fault.place == "step 2",
            "the rows are not named": all(name in fault.message for name in names),
            "the last good checkpoint is not kept": good,
        }
        wrong = [told for told, true in held.items() if not true]
    else:
        wrong = ["the run went on"]
    return Measured(len(wrong), adapted.on, unit="faults", detail="; ".join(wrong))


def _finite(name: str, tensor: Tensor) -> bool:
    return name.startswith("random") or bool(torch.isfinite(tensor).all())


STATEMENTS: dict[str, Statement] = {
    "resumed": Statement(
        "A run that was stopped and gone on with ends in the same bits.",
        "adapter, optimizer and losses of a run with dropout, and of one stopped in the middle of a step",
        resumed,
    ),
    "not a number": Statement(
        "A loss that is no number stops the run, names step and rows, and keeps the last good checkpoint.",
        "a run whose adapter is poisoned after its first step",
        not_a_number,
    ),
}
