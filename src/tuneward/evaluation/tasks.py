"""Tasks: what makes an answer right, item by item.

Place on the road: between the decoder's answers and the statistics. A task turns one answer and its reference into
:class:`Score`, a row of counts; ``measure`` adds the rows up. Knows nothing of models, intervals or gates.

Every figure is a ratio of two sums over items, so that one resampling of items serves all: a rate is hits over items, a
mean is points over items, a field's F1 is twice the agreement over what was given plus what was wanted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tuneward.amounts import counted
from tuneward.digests import digest_value
from tuneward.errors import ConfigError, Fault
from tuneward.evaluation.config import FIELD_MEASURES, FIELD_PREFIX, EvaluationConfig, JsonTaskConfig, TextTaskConfig
from tuneward.evaluation.json_answers import NotJsonError, find_object, read_object, same
from tuneward.evaluation.schema import AnswerSchema, load_schema, unknown_fields
from tuneward.evaluation.text_scores import exact, rouge_l, token_f1, tokens

Kind = Literal["rate", "mean", "ratio"]


@dataclass(frozen=True)
class Score:
    """What one answer earned.

    Attributes:
        parts: figure → (numerator, denominator) that this item adds.
        points: 0 to 1, by which an answer of base and tuned is called better or worse; 1 is right.
        failure: why the answer could not be used, one of ``json_answers.REASONS``; None when it could.
    """

    parts: Mapping[str, tuple[float, float]]
    points: float
    failure: str | None = None


class Task(Protocol):
    """A way of scoring; one per kind in ``TASKS``."""

    @property
    def kind(self) -> str:
        """The task's kind as ``tuneward.yaml`` names it."""
        ...

    @property
    def digest(self) -> str:
        """Digest of everything but the answers that decides a score."""
        ...

    @property
    def figures(self) -> Mapping[str, Kind]:
        """Every figure in reporting order: ``rate`` (each item is 0 or 1), ``mean`` or ``ratio``."""
        ...

    @property
    def fields(self) -> Mapping[str, str]:
        """Field → how it is compared (``exact`` or ``token F1``); empty where answers have no fields."""
        ...

    def reference_problem(self, reference: str) -> str | None:
        """Why a reference answer cannot serve, without quoting it; None when it can."""
        ...

    def score(self, answer: str, reference: str) -> Score:
        """Score one answer; never raises, whatever the answer holds."""
        ...


@dataclass(frozen=True)
class JsonTask:
    """Answers are one JSON object; see :mod:`tuneward.evaluation.json_answers` for how strictly they are read.

    - ``task.valid``: readable and valid against the schema.
    - ``task.valid_json``: readable as exactly one JSON object.
    - ``task.json_found``: an object stands somewhere in the answer (diagnosis, never forgiving elsewhere).
    - ``task.exact_match``: all fields but those in free words are there and canonically equal, and no others.
    - ``task.field_f1``: over all fields of all items, slot by slot. A field that is null or missing says nothing: it
      enters neither precision nor recall. Fields in free words count by their token F1.
    - ``task.fields.NAME.*``: the same for one field; ``agreement`` is the share of items in which it is equal or
      silent on both sides.

    An unreadable answer has no fields: it costs recall, not precision.
    """

    schema: AnswerSchema
    free_text: tuple[str, ...] = ()
    kind: str = "json"

    @property
    def digest(self) -> str:
        """See :class:`Task`."""
        return digest_value({"kind": self.kind, "schema": self.schema.digest, "free_text": list(self.free_text)})

    @property
    def figures(self) -> Mapping[str, Kind]:
        """See :class:`Task`."""
        kinds: dict[str, Kind] = {
            "task.valid": "rate",
            "task.valid_json": "rate",
            "task.json_found": "rate",
            "task.exact_match": "rate",
            "task.field_f1": "ratio",
        }
        for field in self.schema.fields:
            for measure in FIELD_MEASURES:
                agreement: Kind = "mean" if field in self.free_text else "rate"
                kinds[f"{FIELD_PREFIX}{field}.{measure}"] = agreement if measure == "agreement" else "ratio"
        return kinds

    @property
    def fields(self) -> Mapping[str, str]:
        """See :class:`Task`."""
        return {field: "token F1" if field in self.free_text else "exact" for field in self.schema.fields}

    def reference_problem(self, reference: str) -> str | None:
        """See :class:`Task`."""
        try:
            value = read_object(reference)
        except NotJsonError as error:
            return f"the reference is not exactly one JSON object ({error.reason})"
        return self.schema.problem(value)

    def score(self, answer: str, reference: str) -> Score:
        """See :class:`Task`."""
        wanted = read_object(reference)
        given: dict[str, object] = {}
        failure: str | None = None
        try:
            given = read_object(answer)
        except NotJsonError as error:
            failure = error.reason
        readable = failure is None
        valid = readable and self.schema.holds(given)
        if readable and not valid:
            failure = "not by schema"
        right = readable and same(self._exact_part(given), self._exact_part(wanted))
        parts: dict[str, tuple[float, float]] = {
            "task.valid": (float(valid), 1.0),
            "task.valid_json": (float(readable), 1.0),
            "task.json_found": (float(readable or find_object(answer) is not None), 1.0),
            "task.exact_match": (float(right), 1.0),
        }
        parts.update(self._slots(given, wanted))
        return Score(parts=parts, points=float(right), failure=failure)

    def _exact_part(self, value: Mapping[str, object]) -> dict[str, object]:
        return {key: inner for key, inner in value.items() if key not in self.free_text}

    def _slots(self, given: Mapping[str, object], wanted: Mapping[str, object]) -> dict[str, tuple[float, float]]:
        parts: dict[str, tuple[float, float]] = {}
        hits = said = asked = 0.0
        declared = self.schema.fields
        for field in dict.fromkeys([*declared, *wanted, *given]):
            left, right = given.get(field), wanted.get(field)
            has, needs = float(left is not None), float(right is not None)
            hit = self._credit(field, left, right) if has and needs else 0.0
            hits, said, asked = hits + hit, said + has, asked + needs
            if field in declared:
                agreement = hit if has or needs else 1.0
                parts[f"{FIELD_PREFIX}{field}.precision"] = (hit, has)
                parts[f"{FIELD_PREFIX}{field}.recall"] = (hit, needs)
                parts[f"{FIELD_PREFIX}{field}.f1"] = (2 * hit, has + needs)
                parts[f"{FIELD_PREFIX}{field}.agreement"] = (agreement, 1.0)
        parts["task.field_f1"] = (2 * hits, said + asked)
        return parts

    def _credit(self, field: str, left: object, right: object) -> float:
        if field in self.free_text and isinstance(left, str) and isinstance(right, str):
            return token_f1(left, right)
        return float(same(left, right))


@dataclass(frozen=True)
class TextTask:
    """Answers are text: exact match (white space at the ends aside), token F1 and ROUGE-L."""

    kind: str = "text"

    @property
    def digest(self) -> str:
        """See :class:`Task`."""
        return digest_value({"kind": self.kind})

    @property
    def figures(self) -> Mapping[str, Kind]:
        """See :class:`Task`."""
        return {"task.exact_match": "rate", "task.token_f1": "mean", "task.rouge_l": "mean"}

    @property
    def fields(self) -> Mapping[str, str]:
        """See :class:`Task`."""
        return {}

    def reference_problem(self, reference: str) -> str | None:
        """See :class:`Task`."""
        return None if tokens(reference) else "the reference holds no word"

    def score(self, answer: str, reference: str) -> Score:
        """See :class:`Task`."""
        agreement = token_f1(answer, reference)
        parts = {
            "task.exact_match": (exact(answer, reference), 1.0),
            "task.token_f1": (agreement, 1.0),
            "task.rouge_l": (rouge_l(answer, reference), 1.0),
        }
        return Score(parts=parts, points=agreement, failure=None if answer.strip() else "empty")


@dataclass(frozen=True)
class RewardTask:
    """Which of two answers is better; the training process scored the held-out pairs (:mod:`evaluation.reward`)."""

    kind: str = "reward"

    @property
    def digest(self) -> str:
        """See :class:`Task`."""
        return digest_value({"kind": self.kind})

    @property
    def figures(self) -> Mapping[str, Kind]:
        """See :class:`Task`."""
        return {"reward.accuracy": "rate", "reward.calibration_error": "mean"}

    @property
    def fields(self) -> Mapping[str, str]:
        """See :class:`Task`."""
        return {}

    def reference_problem(self, reference: str) -> str | None:
        """See :class:`Task`; any answer can be the better one."""
        return None

    def score(self, answer: str, reference: str) -> Score:
        """See :class:`Task`; a model that scores gives no answer."""
        return Score(parts=dict.fromkeys(self.figures, (0.0, 1.0)), points=0.0, failure="empty")


def _json_task(config: EvaluationConfig, folder: Path) -> Task:
    assert isinstance(config.task, JsonTaskConfig)
    schema = load_schema(folder / config.task.schema_file, shown=config.task.schema_file)
    faults = unknown_fields(list(config.task.free_text), schema, setting="evaluation.task.free_text")
    asked = [name.removeprefix(FIELD_PREFIX) for name in config.gate if name.startswith(FIELD_PREFIX)]
    named = [name.rpartition(".")[0] for name in asked]
    faults += unknown_fields(list(dict.fromkeys(named)), schema, setting="evaluation.gate")
    if faults:
        raise ConfigError(faults)
    return JsonTask(schema=schema, free_text=config.task.free_text)


def _text_task(config: EvaluationConfig, folder: Path) -> Task:
    assert isinstance(config.task, TextTaskConfig)
    return TextTask()


def _reward_task(config: EvaluationConfig, folder: Path) -> Task:
    return RewardTask()


#: Kind → how the task is made from its settings. A further kind of task is one line here and one branch in ``config``.
TASKS: dict[str, Callable[[EvaluationConfig, Path], Task]] = {
    "json": _json_task,
    "text": _text_task,
    "reward": _reward_task,
}


def make_task(config: EvaluationConfig, *, project_folder: Path) -> Task:
    """Make the task that the settings describe.

    Raises:
        ConfigError: when the schema cannot be used, or a setting names a field that it does not have.
    """
    return TASKS[config.task.kind](config, project_folder)


def reference_faults(task: Task, references: Mapping[str, str], *, limit: int = 20) -> list[Fault]:
    """One fault for each reference answer that cannot serve, by item id; a last one counts what ``limit`` cut."""
    found = [(item, problem) for item, text in references.items() if (problem := task.reference_problem(text))]
    faults = [
        Fault("TW-EVAL-006", problem, item, "mend the row, or the schema if the row is right")
        for item, problem in found[:limit]
    ]
    if len(found) > limit:
        more = counted(len(found) - limit, "more item has such a reference", "more items have such a reference")
        faults.append(Fault("TW-EVAL-006", more, "evaluation", "mend the rows named first; often all share one cause"))
    return faults
