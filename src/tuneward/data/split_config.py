"""Settings of the split: which rows are held out of one pile of training files, and how the rest lies in shards.

Place on the road: ``data.split`` in ``tuneward.yaml``. Used where ``data.test`` names no file, or in addition to it.
"""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from tuneward.configuration import Section

Repetitions = Annotated[int, Field(ge=1, le=1024)]


class SplitConfig(Section):
    """How rows are divided. A person's rows, and near-duplicates, are never on two sides."""

    test_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Share of the training rows that is held out for evaluation; it is never exceeded."""

    reserve_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Share of the training rows that neither trains nor tests: the non-members of the memorisation test."""

    shards: Annotated[int, Field(ge=1, le=4096)] = 1
    """Into how many shards the training rows fall; a data subject's rows all lie in one, so that erasure touches
    one."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the draw and of the canaries."""

    stratify_by: str | None = None
    """Label whose shares are kept alike on all sides: a top-level field of JSON answers, or ``answer`` itself."""

    canaries: tuple[Repetitions, ...] = ()
    """Repetitions of the canaries that are written for a twin run (``[1, 4, 16]``); they never join the training
    rows."""

    canaries_each: Annotated[int, Field(ge=1, le=1000)] = 8
    """Canaries for each number of repetitions."""

    @field_validator("stratify_by")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is blank; leave the setting out instead")
        return value

    @field_validator("canaries")
    @classmethod
    def _once_each(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a number of repetitions stands twice")
        return value

    @model_validator(mode="after")
    def _something_trains(self) -> "SplitConfig":
        if self.test_share + self.reserve_share > 0.8:
            raise ValueError("`test_share` and `reserve_share` leave less than a fifth to train")
        return self
