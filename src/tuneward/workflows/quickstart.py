"""The whole road on an example project, from an empty folder to a verified answer and a one-page report."""

import json
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.data.dataset import read_records
from tuneward.domain.record import Message
from tuneward.errors import ConfigError, Fault, MachineError
from tuneward.governance.audit import checkpoint
from tuneward.progress import SILENT, Progress
from tuneward.serving.client import EngineClient
from tuneward.workflows.chat import passing_gateway
from tuneward.workflows.init import init
from tuneward.workflows.project import PROJECT_FILE
from tuneward.workflows.report import render_report, summarise
from tuneward.workflows.run import StepDone, run
from tuneward.workflows.verify import VerifyResult, verify
from tuneward.workflows.workspace import Workspace, open_workspace

EXAMPLE = "claims"
#: Name of the file that marks a folder as a quickstart of ours, so that the same command may go on in it.
MARK = ".quickstart.json"


@dataclass(frozen=True)
class QuickstartResult:
    """What the quickstart did.

    Attributes:
        folder: where the project lies.
        report: the one-page report (HTML).
        seconds: from first to last step, the download of the base included.
        download_seconds: of these, fetching and converting the base.
        peak_memory_bytes: largest resident size of any one process of the road.
        summary: figures, steps and chain, as the report shows them.
        answer_id: the answer that was verified.
        verified: whether its whole chain held.
        next: the command that comes next.
    """

    folder: str
    report: str
    seconds: float
    download_seconds: float
    peak_memory_bytes: int
    summary: Mapping[str, Any]
    answer_id: str
    verified: bool
    next: str


def quickstart(
    folder: Path,
    *,
    example: Path | None = None,
    progress: Progress = SILENT,
    told: Callable[[StepDone], None] = lambda done: None,
) -> QuickstartResult:
    """Walk the road in ``folder`` on an example project; in the same folder, go on where it stopped.

    Args:
        folder: a fresh folder, or one of an earlier quickstart.
        example: folder with ``tuneward.yaml`` and ``make_data.py``; the claims example when None.
        progress: told how far each step is.
        told: called after each step.

    Raises:
        ConfigError: ``folder`` holds something else.
        TunewardError: whatever a step refuses; the same command goes on from there.
    """
    began = time.monotonic()
    folder = folder.resolve()
    _lay_out(folder, example or example_folder(EXAMPLE))
    init(folder)
    workspace = open_workspace(folder)
    walked = run(workspace, progress=progress, told=told)
    spoken = time.monotonic()
    question, answer_id, answer = _ask(workspace, walked.of("prepare").dataset.tree, progress=progress)
    told(StepDone("serve", answer, reused=False, seconds=round(time.monotonic() - spoken, 2)))
    spoken = time.monotonic()
    checkpoint(workspace.office)
    proof = verify(workspace.office, answer_id)
    told(StepDone("verify", proof, reused=False, seconds=round(time.monotonic() - spoken, 2)))
    summary = summarise(workspace, walked, question=question, answer=answer, proof=proof)
    report = folder / "report.html"
    report.write_text(render_report(summary), encoding="utf-8")
    return QuickstartResult(
        folder=str(folder),
        report=str(report),
        seconds=round(time.monotonic() - began, 1),
        download_seconds=next(done.seconds for done in walked.steps if done.step == "pull"),
        peak_memory_bytes=_peak_memory_bytes(walked.of("train").run.figures),
        summary=summary,
        answer_id=answer_id,
        verified=proof.verified,
        next=_following(folder, proof),
    )


def example_folder(name: str) -> Path:
    """Where an example of ours lies: in the source tree, or where an installed wheel puts it.

    Raises:
        MachineError: it is in neither place.
    """
    places = (
        Path(__file__).parents[3] / "examples" / name,
        Path(sysconfig.get_path("data")) / "share" / "tuneward" / "examples" / name,
    )
    for place in places:
        if (place / PROJECT_FILE).is_file():
            return place
    raise MachineError(
        Fault("TW-ENV-001", f"the example {name!r} was not installed", str(places[0]), "run it from a clone")
    )


def _lay_out(folder: Path, example: Path) -> None:
    """Copy the example into a fresh folder and make its data; leave an earlier quickstart as it is."""
    if (folder / MARK).is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            Fault("TW-CONF-007", "the folder holds something else", str(folder), "name a fresh one with --folder")
        )
    folder.mkdir(parents=True, exist_ok=True)
    for item in sorted(example.iterdir()):
        if item.is_file():
            shutil.copyfile(item, folder / item.name)
    if (folder / "make_data.py").is_file():
        subprocess.run([sys.executable, "make_data.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / MARK).write_text(json.dumps({"example": example.name}), encoding="utf-8")


def _ask(workspace: Workspace, tree: str, *, progress: Progress) -> tuple[str, str, Mapping[str, Any]]:
    """Ask the served model one held-out question, streamed and not; returns question, id and answer."""
    record = read_records(workspace.site.artifacts.tree(tree) / "test.jsonl")[0]
    question = tuple(message for message in record.prompt if message.role != "system")
    with passing_gateway(workspace, purpose="tuneward quickstart", progress=progress) as (running, key):
        progress.say(f"the model answers at {running.url}/v1 as {running.aliases[0]!r}")
        most = workspace.project.evaluation.task.max_tokens
        with EngineClient(running.url, key) as client:
            answer = client.chat(running.aliases[0], question, max_tokens=most)
    return _text(question), answer.id, {"text": answer.text, "tokens": answer.answer_tokens, "seconds": answer.seconds}


def _text(messages: tuple[Message, ...]) -> str:
    return "\n\n".join(message.content for message in messages)


def _peak_memory_bytes(figures: Mapping[str, Any]) -> int:
    """Largest resident size among this process and the children it waited for (Linux counts in KiB)."""
    import resource

    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(max(usage) * 1024, int(figures.get("peak_bytes", 0)))


def _following(folder: Path, proof: VerifyResult) -> str:
    if not proof.verified:
        return f"tuneward verify --project {folder}"
    return f"tuneward chat --project {folder}"
