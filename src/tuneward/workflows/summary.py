"""Summary: what the one-page report shows, as one mapping of plain values.

Place on the road: made by ``summarise``, drawn by ``report``, printed by ``quickstart --json``. Types only.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

Interval = Sequence[float]


class FigureSummary(TypedDict):
    """One figure of base and tuned on the same items, as ``report.json`` holds it; shares are 0 to 1."""

    base: float | None
    base_interval: Interval | None
    tuned: float | None
    interval: Interval | None
    difference: float | None
    difference_interval: Interval | None
    n: int
    p_value: float | None
    test: str | None


class AnswerSummary(TypedDict):
    """One held-out item with both answers; ``outcome`` says how they compare (``improved``, ``worse``…).

    ``cut`` is there where an answer had not ended at its longest length: model → tokens.
    """

    outcome: str
    prompt: str
    reference: str
    base: str
    tuned: str
    cut: NotRequired[Mapping[str, int]]


class StepSummary(TypedDict):
    """One step of the road: its name, what it came to in a few words, and how long it took.

    ``state`` is ``done``, ``kept`` (inputs unchanged, nothing done again), ``refused`` or ``not reached``.
    """

    name: str
    result: str
    seconds: float | None
    state: Literal["done", "kept", "refused", "not reached"]


class LinkSummary(TypedDict):
    """One link of the chain, answer first, base last.

    ``digest`` is full lower hex or None; ``facts`` are ``(label, value)`` pairs in reading order; ``checked`` says
    whether ``verify`` found it in order, None where nothing was verified. ``self_granted`` belongs to approvals.
    """

    kind: Literal["answer", "deployment", "version", "evaluation", "approval", "run", "dataset", "base"]
    id: str
    digest: str | None
    at: str | None
    facts: Sequence[tuple[str, str]]
    checked: bool | None
    self_granted: NotRequired[bool]


class SplitSummary(TypedDict):
    """A split as the data card counts it: rows read, rows dropped by reason, rows kept, their tokens."""

    read: int
    dropped: Mapping[str, int]
    kept: int
    tokens: int


class DataSummary(TypedDict):
    """What ``prepare`` found; ``findings`` is kind → action → count, ``noticed`` is what was seen and left."""

    train: SplitSummary
    test: SplitSummary
    findings: Mapping[str, Mapping[str, int]]
    noticed: Mapping[str, int]


class TrainingSummary(TypedDict):
    """Figures of the run; ``curve_svg`` is the loss curve's picture as text, from our own training.

    What begins with ``validation`` and what follows it is there where rows were held out.
    """

    rows: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    first_loss: float
    final_loss: float
    trained_parameters: int
    peak_bytes: int
    precision: str
    device: str
    curve_svg: str
    validation_rows: NotRequired[int]
    validation_first_loss: NotRequired[float]
    validation_final_loss: NotRequired[float]
    validation_best_loss: NotRequired[float]
    best_step: NotRequired[int]
    kept_step: NotRequired[int]
    stopped_early: NotRequired[bool]


class GateSummary(TypedDict):
    """The gate's verdict and its reasons, one line per threshold."""

    passed: bool
    reasons: Sequence[str]


class Summary(TypedDict):
    """Everything on the page. Sections whose step was not reached are None and are said to be missing.

    Attributes:
        project: the project's name.
        purpose: its purpose, in the words of ``tuneward.yaml``.
        base: the base model's name.
        base_licence: its licence.
        policy: name of the policy in force.
        made_at: UTC, ISO 8601.
        tuneward: version of Tuneward.
        machine: the machine in words (cores, memory, device).
        seconds: of all steps, in this call.
        headline: name of the figure in the opening sentence, such as ``task.exact_match``.
        figures: figure → values, in the order shown.
        fields: field → its F1, in the order shown; empty for text tasks.
        free_text: fields in free words, which exact match leaves out.
        answers: a few items side by side.
        chosen: how those items were chosen.
        data: what ``prepare`` found, or None.
        training: the run, or None.
        gate: the verdict, or None.
        chain: links, answer first.
        verified: what ``verify`` said of the whole chain, or None.
        steps: every step of the road with its time.
        limits: what the reader must not conclude.
        not_measured: ``(what, why)``.
        next: commands to go on with.
    """

    project: str
    purpose: str
    base: str
    base_licence: str
    policy: str
    made_at: str
    tuneward: str
    machine: str
    seconds: float
    headline: str
    figures: Mapping[str, FigureSummary]
    fields: Mapping[str, FigureSummary]
    free_text: Sequence[str]
    answers: Sequence[AnswerSummary]
    chosen: str
    data: DataSummary | None
    training: TrainingSummary | None
    gate: GateSummary | None
    chain: Sequence[LinkSummary]
    verified: bool | None
    steps: Sequence[StepSummary]
    limits: Sequence[str]
    not_measured: Sequence[tuple[str, str]]
    next: Sequence[str]
