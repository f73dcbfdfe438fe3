"""The held-out share of a job: made for the loop before it, told in figures after it.

Place on the road: between ``job`` and ``validation``.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tuneward.modeling.generate import Answering, context_tokens
from tuneward.training.batches import Step, Window, fill_windows
from tuneward.training.calibration import calibrate
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Group
from tuneward.training.interruption import Stopped, memory_explained
from tuneward.training.loop import Loop
from tuneward.training.losses.objective import Objective
from tuneward.training.losses.reward import Reward
from tuneward.training.rows import Rows
from tuneward.training.samples import Samples, Speaker, with_room
from tuneward.training.validation import Validation, read_measured


def make_validation(
    held: Sequence[int],
    rows: Rows,
    steps: Sequence[Step],
    objective: Objective,
    *,
    model: Answering,
    speaker: Speaker,
    config: TrainingConfig,
    folder: Path,
    group: Group,
) -> Validation | None:
    """Validation over the rows of the numbers ``held``, with its samples; None where none are held out.

    ``model`` is asked for samples; a group may hold it in parts; see :class:`tuneward.training.sharding.Asked`.
    """
    if not held:
        return None
    wanted, samples = config.validation, None
    if wanted.samples:
        room = context_tokens(model)
        asked = with_room(
            [rows[number] for number in held], wanted.samples, tokens=wanted.sample_tokens, context_tokens=room
        )
        samples = Samples(asked, model, speaker, folder=folder, tokens=wanted.sample_tokens, group=group)
    return Validation(held, rows, steps, objective, config=config, folder=folder, samples=samples, group=group)


def validated(validation: Validation, *, done: int) -> dict[str, Any]:
    """Figures of the held-out share, and of which weights were kept.

    Args:
        validation: after the run.
        done: steps that were done.
    """
    measured, course = read_measured(validation.path), validation.course
    return {
        "validation_rows": len(validation.held),
        "validation_first_loss": measured[0].loss,
        "validation_final_loss": measured[-1].loss,
        "validation_best_loss": course.best_loss,
        "best_step": course.best_step,
        "kept_step": course.best_step if validation.config.validation.keep == "best" else done,
        "stopped_early": done < len(validation.steps),
    }


def read_pairs(path: Path, read: Callable[[Path], Rows], folder: Path) -> Rows | None:
    """The pairs of a file of records, which may hold plain conversations as well; None where there is no pair.

    Args:
        path: one record per line.
        read: turns such a file into rows.
        folder: where the pairs stand for a moment alone; created if missing.
    """
    with path.open("rb") as lines:
        pairs = [line for line in lines if not _is_conversation(line)]
    if not pairs:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:
        alone = Path(place) / path.name
        alone.write_bytes(b"".join(pairs))
        return read(alone)


def _is_conversation(line: bytes) -> bool:
    try:
        return "rejected" not in json.loads(line)
    except (ValueError, TypeError):  # a blank line, or one that its reader will name
        return not line.strip()


def calibrated(rows: Rows, loop: Loop) -> dict[str, Any]:
    """Figures of a reward model on pairs that it did not learn from.

    Args:
        rows: the pairs.
        loop: after the run.

    Raises:
        Stopped: somebody asked.
        TrainingError: a window did not fit into memory.
    """
    assert isinstance(loop.objective, Reward), "only a reward model scores"
    loop.trainable.pause()
    found: list[float] = []
    sizes, room = rows.sizes.tolist(), loop.config.room
    for share in loop.group.share(list(fill_windows(sizes, room)), sizes.__getitem__, room=room):
        if loop.stop():
            raise Stopped
        window = Window.pack([rows[i] for i in share.rows], device=loop.device)
        with memory_explained("a window of held-out pairs", [share.rows]), torch.no_grad():
            scores = loop.objective.scores(loop.outputs(window), window)
        if share.counted:
            found += (scores[0::2] - scores[1::2]).tolist()
    measured = calibrate([difference for part in loop.group.gather(found) for difference in part])
    return {} if measured is None else measured.figures()
