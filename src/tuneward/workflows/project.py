"""``tuneward.yaml``: the composition of every room's settings, and nothing else.

Place on the road: step 0; every other workflow starts from a :class:`Project`. The bounds and docstrings of a setting
stand in the room that owns it.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tuneward.configuration import Section, SettingError, load_section
from tuneward.data.config import DataConfig
from tuneward.evaluation.config import EvaluationConfig
from tuneward.inspection.config import InspectionConfig
from tuneward.licences import Use as Use
from tuneward.registry.config import ExportConfig
from tuneward.serving.config import ServingConfig
from tuneward.training.config import TrainingConfig

PROJECT_FILE = "tuneward.yaml"


class Project(Section):
    """One project, as its file describes it."""

    project: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name of the project: lower-case letters, digits and hyphens; also the default name under which it is served."""

    purpose: str = Field(min_length=10)
    """What the model is for, in a sentence that an approver can judge."""

    base: str = Field(min_length=1)
    """Base model: a name of the catalogue, a hub id with its revision (`org/name@commit`), or a local folder."""

    use: Use = "internal"
    """Declared use, checked against the base's licence: research only, inside the organisation, offered to others as a
    service, or weights handed out."""

    risk_class: Literal["minimal", "limited", "high"] = "limited"
    """Risk class of the use case, as the requester sees it; stands in the request for approval."""

    data: DataConfig
    """Where rows come from and on what legal basis."""

    inspection: InspectionConfig = InspectionConfig()
    """What is looked for in every text, beside what every site looks for."""

    training: TrainingConfig = TrainingConfig()
    """How the run trains."""

    evaluation: EvaluationConfig
    """What is measured, and the gate."""

    serving: ServingConfig = ServingConfig()
    """Where and how the gateway serves."""

    export: ExportConfig = ExportConfig()
    """How exported copies are checked."""

    policy: str = "solo"
    """`solo`, `team`, `regulated`, or the path of a policy file of the site's own."""

    @model_validator(mode="after")
    def _scores_are_measured_as_scores(self) -> "Project":
        if (self.training.method == "reward") != (self.evaluation.task.kind == "reward"):
            raise ValueError("`training.method: reward` and `evaluation.task.kind: reward` go together")
        return self

    @model_validator(mode="after")
    def _guarded_lists_exist(self) -> "Project":
        try:
            self.serving.guard.refuse_unknown_lists(
                {"term": self.inspection.terms, "pattern": self.inspection.patterns}
            )
        except SettingError as error:
            raise SettingError(str(error), at=("serving", "guard", *error.at), cure=error.cure) from None
        return self


def load_project(folder: Path) -> Project:
    """Read ``tuneward.yaml`` of ``folder``.

    Raises:
        ConfigError: with every fault of the file, each with its line.
    """
    return load_section(folder / PROJECT_FILE, Project)
