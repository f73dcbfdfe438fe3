"""Settings of the evaluation: the task, the suites asked for, and the gate's thresholds.

Place on the road: the ``evaluation`` section of ``tuneward.yaml``, read before anything is measured, so that a
threshold on a figure that nobody knows is refused before training starts. Knows names of figures; computes none.
"""

import difflib
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tuneward.configuration import Section

Suite = Literal["general", "refusal", "bias", "memorization"]

#: Figures of each kind of task, as the gate names them. ``task.fields.NAME.MEASURE`` comes on top for ``json``.
TASK_FIGURES: dict[str, tuple[str, ...]] = {
    "json": (
        "task.valid",
        "task.valid_json",
        "task.json_found",
        "task.exact_match",
        "task.field_f1",
    ),
    "text": ("task.exact_match", "task.token_f1", "task.rouge_l"),
    "reward": ("reward.accuracy", "reward.calibration_error"),
}

#: What figures of single fields begin with: ``task.fields.NAME.MEASURE``.
FIELD_PREFIX = "task.fields."

#: Measures of one field.
FIELD_MEASURES = ("precision", "recall", "f1", "agreement")

#: Figures of the suites. A gate may ask for them today; until a suite is measured, its answer is no.
SUITE_FIGURES: dict[str, Suite] = {
    "forgetting": "general",
    "refusal.over_refusal": "refusal",
    "refusal.attack_success": "refusal",
    "bias.stereotype": "bias",
    "memorization.extracted": "memorization",
}


class JsonTaskConfig(Section):
    """Answers are one JSON object each."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    kind: Literal["json"]
    """The answer is one JSON object."""
    schema_file: str = Field(alias="schema", min_length=1)
    """JSON Schema of the answer, a file beside ``tuneward.yaml``."""
    free_text: tuple[str, ...] = ()
    """Top-level fields in free words: compared by token F1 and left out of the exact match."""
    max_tokens: int = Field(default=128, ge=1, le=32768)
    """Longest answer in tokens; one that needs more is cut and counts as it stands."""


class TextTaskConfig(Section):
    """Answers are free text."""

    kind: Literal["text"]
    """The answer is text."""
    max_tokens: int = Field(default=256, ge=1, le=32768)
    """Longest answer in tokens; one that needs more is cut and counts as it stands."""


class RewardTaskConfig(Section):
    """No answers are given: a model of the method ``reward`` scores them."""

    kind: Literal["reward"]
    """Held-out pairs are scored; what is measured is how often the better answer is told, and how surely."""

    @property
    def max_tokens(self) -> int:
        """Nothing is answered."""
        return 0


def _branch(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"[{kind}]" if kind in TASK_FIGURES else None


# The tags stand in brackets so that `configuration` knows them as branches, not as keys of the file.
TaskConfig = Annotated[
    Annotated[JsonTaskConfig, Tag("[json]")]
    | Annotated[TextTaskConfig, Tag("[text]")]
    | Annotated[RewardTaskConfig, Tag("[reward]")],
    Discriminator(
        _branch,
        custom_error_type="task_kind",
        custom_error_message="Must be a mapping with `kind: json`, `kind: text` or `kind: reward`",
    ),
]


class GateRule(Section):
    """What one figure of the tuned model must meet. Several bounds may be given; all must hold."""

    min: float | None = Field(default=None, allow_inf_nan=False)
    """Smallest value allowed."""
    max: float | None = Field(default=None, allow_inf_nan=False)
    """Largest value allowed."""
    max_drop: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Largest loss allowed against the base model (base minus tuned)."""
    bound: Literal["point", "interval"] = "point"
    """``point``: the measured value must meet the threshold; ``interval``: the worse end of its 95% interval must."""

    @model_validator(mode="after")
    def _asks_something(self) -> "GateRule":
        if self.min is None and self.max is None and self.max_drop is None:
            raise ValueError("Must ask something: `min`, `max` or `max_drop`")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("`min` lies above `max`: no value can meet both")
        return self


def _names_a_figure(name: str) -> str:
    every = sorted({figure for figures in TASK_FIGURES.values() for figure in figures} | set(SUITE_FIGURES))
    if name not in every and not _names_a_field(name):
        raise ValueError(_unknown(name, every))
    return name


def _names_a_field(name: str) -> bool:
    field, _, measure = name.removeprefix(FIELD_PREFIX).rpartition(".")
    return name.startswith(FIELD_PREFIX) and bool(field) and measure in FIELD_MEASURES


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`? " if near else ""
    return f"Must name a figure ({hint}there are: {', '.join(known)}, task.fields.NAME.f1)"


class EvaluationConfig(Section):
    """How the tuned model is compared with its own base."""

    task: TaskConfig
    """What a right answer is."""
    suites: tuple[Suite, ...] = ()
    """Further suites. What this version cannot measure is listed in the report as not measured."""
    gate: dict[Annotated[str, AfterValidator(_names_a_figure)], GateRule] = Field(default_factory=dict)
    """Thresholds by figure, such as ``task.exact_match: {min: 0.6}``."""
    samples: int = Field(default=4, ge=0, le=100)
    """Side-by-side examples in the report, drawn at random with ``seed``."""
    items: int | None = Field(default=None, ge=1)
    """Measure on this many test rows, drawn at random with ``seed``; null means the whole test set."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the bootstrap, the randomisation tests and every draw."""

    @field_validator("suites")
    @classmethod
    def _once(cls, suites: tuple[Suite, ...]) -> tuple[Suite, ...]:
        if len(set(suites)) < len(suites):
            raise ValueError(f"Must name each suite once; there are: {', '.join(get_args(Suite))}")
        return suites

    @field_validator("gate")
    @classmethod
    def _belongs_to_the_task(cls, gate: dict[str, GateRule], info: ValidationInfo) -> dict[str, GateRule]:
        task = info.data.get("task")
        if task is None:
            return gate
        known = [*TASK_FIGURES[task.kind], *SUITE_FIGURES]
        strange = [n for n in gate if n not in known and not (task.kind == "json" and n.startswith(FIELD_PREFIX))]
        if strange:
            problem = f"A task of kind {task.kind} has no figure {', '.join(f'`{n}`' for n in strange)}"
            raise ValueError(f"{problem}; there are: {', '.join(known)}")
        return gate

    def gate_json(self) -> dict[str, dict[str, Any]]:
        """The thresholds as plain JSON, as an evaluation freezes them."""
        return {name: rule.model_dump(mode="json", exclude_none=True) for name, rule in self.gate.items()}
