"""Commands of the road itself: `prepare`, `train`, `evaluate`, `register`, `deploy`, `run`, `status`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tuneward.amounts import counted
from tuneward.cli.output import HERE, Json, ProjectFolder, short, show, stderr, stdout, table
from tuneward.cli.plan import show_plan
from tuneward.cli.progress_bar import duration, progress_on_stderr
from tuneward.domain.finding import Action
from tuneward.errors import EvaluationError
from tuneward.workflows.deploy import DeployResult
from tuneward.workflows.deploy import deploy as activate
from tuneward.workflows.evaluate import EvaluateResult
from tuneward.workflows.evaluate import evaluate as measure
from tuneward.workflows.plan import plan as foresee
from tuneward.workflows.prepare import PrepareResult
from tuneward.workflows.prepare import prepare as make_dataset
from tuneward.workflows.register import RegisterResult
from tuneward.workflows.register import register as enter
from tuneward.workflows.run import RunResult, StepDone, gone_on_with
from tuneward.workflows.run import run as walk
from tuneward.workflows.status import StatusResult
from tuneward.workflows.status import status as look
from tuneward.workflows.train import TrainResult
from tuneward.workflows.train import train as fit
from tuneward.workflows.workspace import open_workspace


def add_to(app: typer.Typer) -> None:
    """Hang the commands into the app."""
    for command in (prepare, train, evaluate, register, deploy, run, status):
        app.command()(command)


def prepare(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Read, inspect, clean and fingerprint the rows; write the data card."""
    with progress_on_stderr() as progress:
        result = make_dataset(open_workspace(project), progress=progress)
    show(result, show_prepared, as_json=as_json)


def show_prepared(result: PrepareResult) -> None:
    """What came in, what left and why."""
    dataset = result.dataset
    rows = f"{counted(dataset.train_rows, 'row')} to train on, {dataset.test_rows:,} held out"
    stdout.print(f"{dataset.id}: {rows}{_again(result.reused)}")
    for line in said(dataset.counts):
        stdout.print(f"  {line}")
    stdout.print(f"fingerprint {short(dataset.fingerprint)}   data card {result.card}", soft_wrap=True)


#: Why rows were left out, and what was done about findings, in words.
LEFT_OUT = {
    "finding": "with findings for which the policy drops a row",
    "duplicate": "exact duplicates",
    "contamination": "that also stand in the test set",
    "too_long": "longer than the context",
    "terms": "under terms that do not hold",
    "near_duplicate": "nearly equal to another row",
    "quality": "of low quality",
    "held_out": "held out of training",
}
DONE: dict[Action, str] = {
    "allow": "kept",
    "tag": "named and kept",
    "pseudonymise": "replaced by another of its kind",
    "redact": "redacted",
    "drop": "dropped",
    "block": "blocked",
}


def said(counts: Mapping[str, Any]) -> list[str]:
    """What came in, what left and why, and what was found, in a line each."""
    lines = []
    for split in ("train", "test"):
        part = counts[split]
        left = [f"{number} {LEFT_OUT[reason]}" for reason, number in part["dropped"].items() if number]
        line = f"{split}: {part['read']:,} read, {part['kept']:,} kept"
        lines.append(f"{line}; left out: {', '.join(left)}" if left else line)
    for kind, actions in counts["findings"].items():
        done = ", ".join(f"{number} {DONE[action]}" for action, number in actions.items())
        lines.append(f"found {kind.replace('_', ' ')}: {done}")
    seen = {
        "contradictions": ("prompt with contradicting answers, kept", "prompts with contradicting answers, kept"),
        "near_duplicates": ("near-duplicate in train, kept", "near-duplicates in train, kept"),
        "near_test": ("training row close to a test row, kept", "training rows close to a test row, kept"),
        "test_duplicates": ("test row that stands twice, kept", "test rows that stand twice, kept"),
        "outside_schema": ("answer that breaks the task's schema", "answers that break the task's schema"),
    }
    lines += [counted(counts[name], *what) for name, what in seen.items() if counts.get(name)]
    lines += said_of_law(counts.get("law") or {})
    return lines


#: Why rows left for their terms, in words.
UNLAWFUL = {
    "missing": "terms missing",
    "expired": "consent expired",
    "withdrawn": "consent withdrawn",
    "retention": "may not be kept any longer",
    "geography": "come from where none is allowed",
    "special": "special category without a condition",
}


def said_of_law(law: Mapping[str, Any]) -> list[str]:
    """Which rows left for their terms, and what the licences of the others ask, in a line each."""
    lines = []
    for split, reasons in (law.get("left") or {}).items():
        said = ", ".join(f"{number} {UNLAWFUL[reason]}" for reason, number in reasons.items())
        lines.append(f"{split}, left for their terms: {said}")
    lines += [f"licence asks: {duty['text']} ({', '.join(duty['licences'])})" for duty in law.get("duties") or ()]
    if law.get("valid_until"):
        lines.append(f"holds until {law['valid_until']}: the first consent or retention ends then")
    return lines


OnlyPlan = Annotated[
    bool, typer.Option("--plan", help="Only say what the run would train, take and cost; nothing is trained.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Only go on with an interrupted run; refuse where none is.")]


def train(project: ProjectFolder = HERE, resume: Resume = False, plan: OnlyPlan = False, as_json: Json = False) -> None:
    """Train the adapter; Ctrl-C keeps a checkpoint, the same command goes on."""
    if plan and resume:
        raise typer.BadParameter("--plan says what a new run would take; leave out --resume")
    with progress_on_stderr() as progress:
        workspace = open_workspace(project)
        planned = foresee(workspace, progress=progress) if plan else None
        result = None if plan else fit(workspace, resume=resume, progress=progress)
    if planned is not None:
        show(planned, show_plan, as_json=as_json)
    if result is not None:
        show(result, show_trained, as_json=as_json)


def show_trained(result: TrainResult) -> None:
    """The finished run."""
    figures = result.run.figures
    stdout.print(
        f"{result.run.id}: loss {figures['first_loss']:.3f} → {figures['final_loss']:.3f} over "
        f"{counted(figures['steps'], 'step')}, {counted(figures['tokens'], 'token')} in {duration(figures['seconds'])} "
        f"({figures['tokens_per_second']:,.0f} tokens/s), peak memory {figures['peak_bytes'] / 1e9:.1f} GB"
        + _again(result.reused)
    )
    if figures.get("validation_rows"):
        best, last = figures["validation_best_loss"], figures["validation_final_loss"]
        early = ", which ended early" if figures["stopped_early"] else ""
        stdout.print(
            f"held-out loss over {counted(figures['validation_rows'], 'row')}: "
            f"{figures['validation_first_loss']:.3f} → {last:.3f}{early}; "
            f"lowest {best:.3f} after step {figures['best_step']}; kept: step {figures['kept_step']}"
        )
    stdout.print(f"adapter {short(result.adapter.id)}: {result.adapter.parameters:,} parameters")
    if "held_out_pairs" in figures:
        stdout.print(
            f"held-out pairs: {figures['held_out_accuracy']:.1%} of {figures['held_out_pairs']:,} judged right, "
            f"expected calibration error {figures['calibration_error']:.3f}"
        )


def evaluate(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Measure tuned against base on the held-out items; the gate judges."""
    with progress_on_stderr() as progress:
        result = measure(open_workspace(project), progress=progress)
    show(result, show_evaluated, as_json=as_json)
    if not result.evaluation.passed:
        raise typer.Exit(EvaluationError.exit_code)


def show_evaluated(result: EvaluateResult) -> None:
    """Before and after, and the verdict."""
    rows = table("", "figure", "base", "tuned", "difference [95% interval]", "n", "p")
    for name, figure in result.report["figures"].items():
        _add(rows, name, figure)
    for name, field in result.report["fields"].items():
        _add(rows, f"{name} (F1)", field["f1"])
    stdout.print(rows)
    for missing in result.report.get("not_measured", ()):
        stdout.print(f"not measured: {missing['name']} ({missing['reason']})")
    if cut := result.report.get("cut"):
        many = ", ".join(f"{counted(cut[model], f'{model} answer')}" for model in ("base", "tuned") if cut[model])
        stdout.print(
            f"cut at {counted(cut['max_tokens'], 'token')} before the model had ended: {many}; raise "
            "`evaluation.task.max_tokens` if a right answer needs more",
            style="yellow",
            soft_wrap=True,
        )
    for reason in result.evaluation.reasons:
        stdout.print(f"  {reason}")
    verdict = ("gate passed", "green") if result.evaluation.passed else ("gate says no", "red")
    stdout.print(Text.assemble(f"{result.evaluation.id}: ", verdict, _again(result.reused)))


def register(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Register the evaluated run as a version with AIBOM, model card and signature."""
    with progress_on_stderr() as progress:
        result = enter(open_workspace(project), progress=progress)
    show(result, show_registered, as_json=as_json)


def show_registered(result: RegisterResult) -> None:
    """The version and its papers."""
    version = result.version
    stdout.print(
        f"{version.id}: {version.project} version {version.number}, signed with key {short(version.key_id)}"
        f"{_again(result.reused)}\npapers  {result.papers}\nadapter {result.adapter}",
        soft_wrap=True,
    )


def deploy(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Let the current version be served, after its chain and its adapter were checked."""
    with progress_on_stderr() as progress:
        result = activate(open_workspace(project), progress=progress)
    show(result, show_deployed, as_json=as_json)


def show_deployed(result: DeployResult) -> None:
    """The active deployment."""
    deployment = result.deployment
    stdout.print(
        f"{deployment.id}: model {deployment.alias!r} serves {deployment.version}; its adapter moves the base's "
        f"log-probabilities by {deployment.canary_difference:.2f} on average{_again(result.reused)}"
    )


SHOW: dict[str, Any] = {
    "prepare": show_prepared,
    "train": show_trained,
    "evaluate": show_evaluated,
    "register": show_registered,
    "deploy": show_deployed,
}


def told(done: StepDone) -> None:
    """One line per step of a walk, on stderr."""
    how = "nothing changed" if done.reused else duration(done.seconds)
    how += ", the rest of a run that had begun" if gone_on_with(done) else ""
    stderr.print(Text.assemble((f"{done.step:<9}", "bold"), f" done ({how})"))


def run(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Walk all steps; stop at the first gate that says no. What is current is not done again."""
    with progress_on_stderr() as progress:
        result = walk(open_workspace(project), progress=progress, told=told)
    show(result, show_walked, as_json=as_json)


def show_walked(result: RunResult) -> None:
    """Every step's own result."""
    for done in result.steps:
        if done.step in SHOW:
            SHOW[done.step](done.result)


def status(project: ProjectFolder = HERE, as_json: Json = False) -> None:
    """Show the road: what is done, what is stale, and the next command."""

    def human(result: StatusResult) -> None:
        marks = {
            "done": "✓",
            "stale": "≠",
            "waiting": "…",
            "running": "…",
            "interrupted": "…",
            "open": " ",
            "not needed": "-",
        }
        stdout.print(f"{result.project} (policy {result.policy})")
        for state in result.steps:
            stdout.print(f" {marks[state.state]} {state.step:<9} {state.state:<11} {state.says}")
        for line in result.affected:
            stdout.print(Text.assemble(("affected: ", "bold red"), line), soft_wrap=True)

    show(look(open_workspace(project)), human, as_json=as_json)


def _again(reused: bool) -> str:
    return " (nothing changed)" if reused else ""


def _add(rows: Table, name: str, figure: Mapping[str, Any]) -> None:
    rows.add_row(
        name,
        _value(figure["base"]),
        _value(figure["tuned"]),
        _difference(figure["difference"], figure["difference_interval"]),
        str(figure["n"]),
        _p_value(figure["p_value"]),
    )


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _difference(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" + (f" [{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "")


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
