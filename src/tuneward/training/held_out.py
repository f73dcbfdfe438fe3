"""The held-out share of a job: made for the loop before it, told in figures after it.

Place on the road: between ``job`` and ``validation``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from tuneward.errors import Fault, TrainingError
from tuneward.modeling.generate import context_tokens
from tuneward.training.batches import Step
from tuneward.training.config import TrainingConfig
from tuneward.training.distributed import Group
from tuneward.training.losses.objective import Objective
from tuneward.training.rows import Rows
from tuneward.training.samples import Samples, Speaker, with_room
from tuneward.training.validation import Validation, read_measured


def refuse_samples_in_parts(config: TrainingConfig, *, processes: int) -> None:
    """Refuse samples where several processes hold the model in parts, which the decoder does not put together.

    Raises:
        TrainingError: samples are asked for and there are several processes.
    """
    if config.validation.samples and processes > 1:
        told = f"{processes} processes hold the model in parts, and samples need it whole"
        cure = "set training.processes: 1, or samples: 0"
        raise TrainingError(Fault("TW-TRAIN-042", told, "training.validation.samples", cure))


def make_validation(
    held: Sequence[int],
    rows: Rows,
    steps: Sequence[Step],
    objective: Objective,
    *,
    model: PreTrainedModel,
    speaker: Speaker,
    config: TrainingConfig,
    folder: Path,
    group: Group,
) -> Validation | None:
    """Validation over the rows of the numbers ``held``, with its samples; None where none are held out."""
    if not held:
        return None
    wanted, samples = config.validation, None
    if wanted.samples:
        room = context_tokens(model)
        asked = with_room(
            [rows[number] for number in held], wanted.samples, tokens=wanted.sample_tokens, context_tokens=room
        )
        samples = Samples(asked, model, speaker, folder=folder, tokens=wanted.sample_tokens)
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
