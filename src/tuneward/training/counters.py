"""Counters: what a run counts over all its interruptions, and with which settings each of its steps was computed.

Place on the road: kept by the loop, written into every checkpoint, told in the figures. Knows no model and no file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneward.training.config import COMPUTED_BY, TrainingConfig


@dataclass
class Counters:
    """What a run counts, over all its interruptions.

    Attributes:
        tokens: that were passed.
        seconds: that steps took.
        resumed: how often it was gone on with.
        processes: that train it now.
        courses: after which step it was computed with which settings; see :func:`course_of`.
    """

    tokens: int = 0
    seconds: float = 0.0
    resumed: int = 0
    processes: int = 1
    courses: list[dict[str, Any]] = field(default_factory=list)

    def change_course(self, config: TrainingConfig, done: int) -> str | None:
        """Note that the run goes on after the step ``done``; what is to be said where it is computed otherwise."""
        own = course_of(config, done)
        kept = [course for course in self.courses if course["after_step"] < done]  # no step ran with the others
        before = kept[-1] if kept else own
        changed = {name: own[name] for name in COMPUTED_BY if before[name] != own[name]}
        self.courses = [*kept, own] if changed or not kept else kept
        if not changed:
            return None
        was = _told({name: before[name] for name in changed})
        text = f"from step {done + 1} on with {_told(changed)}, up to there with {was}: same losses, other bits"
        drawn = config.adapter.dropout or config.neftune_alpha
        return text + (", and other numbers that dropout and NEFTune draw" if drawn else "")

    def settings_by_step(self) -> str | None:
        """Which steps ran with which settings, in words; None where all ran with the same."""
        if len(self.courses) < 2:
            return None
        ends = [*(str(course["after_step"]) for course in self.courses[1:]), "the last"]
        return "; ".join(
            f"steps {course['after_step'] + 1} to {end}: {_told(course)}"
            for course, end in zip(self.courses, ends, strict=True)
        )


def course_of(config: TrainingConfig, after_step: int) -> dict[str, Any]:
    """With which settings a run is computed after a step; see :data:`tuneward.training.config.COMPUTED_BY`."""
    return {"after_step": after_step, **{name: getattr(config, name) for name in COMPUTED_BY}}


def _told(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(settings[name])}" for name in COMPUTED_BY if name in settings)
