"""The whole road on an example project, from an empty folder to a verified answer and a one-page report."""

import json
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneward.data.prepared import read_records
from tuneward.errors import ConfigError, Fault, MachineError
from tuneward.governance.audit import checkpoint
from tuneward.progress import SILENT, Progress
from tuneward.storage.files import explained, write_atomically
from tuneward.storage.staging import staging, sweep
from tuneward.workflows.chat import ChatResult, conversation
from tuneward.workflows.init import init
from tuneward.workflows.project import PROJECT_FILE
from tuneward.workflows.report import render_report
from tuneward.workflows.run import StepDone, gone_on_with, run
from tuneward.workflows.summarise import summarise
from tuneward.workflows.verify import verify
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
        seconds: of this call, the download of the base included; what an earlier call had done is not in it.
        download_seconds: of these, fetching and converting the base.
        earlier: steps that an earlier call in the same folder had done, ``train`` also where it had begun it.
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
    earlier: tuple[str, ...] = ()


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
    asked = _timed("serve", lambda: _ask(workspace, walked.of("prepare").dataset.tree, progress=progress), told)
    checkpoint(workspace.office)
    proven = _timed("verify", lambda: verify(workspace.office, asked.result.id), told)
    answer, proof = asked.result, proven.result
    summary = summarise(workspace, (*walked.steps, asked, proven), answer=answer, proof=proof)
    report = folder / "report.html"
    write_atomically(report, render_report(summary).encode())
    return QuickstartResult(
        folder=str(folder),
        report=str(report),
        seconds=round(time.monotonic() - began, 1),
        download_seconds=next(done.seconds for done in walked.steps if done.step == "pull"),
        peak_memory_bytes=_peak_memory_bytes(walked.of("train").run.figures),
        summary=_without_page(summary),
        earlier=tuple(done.step for done in walked.steps if done.reused or gone_on_with(done)),
        answer_id=answer.id,
        verified=proof.verified,
        next=f"tuneward {'chat' if proof.verified else 'verify'} --project {shlex.quote(str(folder))}",
    )


def _timed(step: str, work: Callable[[], Any], told: Callable[[StepDone], None]) -> StepDone:
    began = time.monotonic()
    done = StepDone(step, work(), reused=False, seconds=round(time.monotonic() - began, 2))
    told(done)
    return done


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
    if not (example / PROJECT_FILE).is_file():
        cure = "name a folder that holds one"
        raise ConfigError(Fault("TW-CONF-007", f"the example has no {PROJECT_FILE}", str(example), cure))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            Fault("TW-CONF-007", "the folder holds something else", str(folder), "name a fresh one with --folder")
        )
    with explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{folder.name}-new-"
        sweep(folder.parent, prefix=prefix)
        with staging(folder.parent, prefix=prefix) as building:
            building.chmod(0o755)
            for item in sorted(example.iterdir()):
                if item.is_file():
                    shutil.copyfile(item, building / item.name)
            _make_data(building)
            (building / MARK).write_text(json.dumps({"example": example.name}), encoding="utf-8")
            if not folder.exists():
                building.rename(folder)
                return
            for item in sorted(building.iterdir(), key=lambda item: item.name == MARK):  # the mark last
                item.rename(folder / item.name)


def _make_data(folder: Path) -> None:
    if not (folder / "make_data.py").is_file():
        return
    done = subprocess.run([sys.executable, "make_data.py"], cwd=folder, stdout=subprocess.DEVNULL)
    if done.returncode:
        message = f"make_data.py ended with status {done.returncode}"
        raise MachineError(Fault("TW-ENV-003", message, "make_data.py", "mend the example; see what it printed above"))


def _ask(workspace: Workspace, tree: str, *, progress: Progress) -> ChatResult:
    """Ask the served model one held-out question, as a client would."""
    record = read_records(workspace.site.artifacts.tree(tree) / "test.jsonl")[0]
    question = tuple(message for message in record.prompt if message.role != "system")
    with conversation(workspace, progress=progress) as line:
        return line.ask(question)


def _without_page(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The summary without what only the page shows: texts of rows, and the curve's picture."""
    shown = {name: value for name, value in summary.items() if name != "answers"}
    shown["training"] = {name: value for name, value in summary["training"].items() if name != "curve_svg"}
    return shown


def _peak_memory_bytes(figures: Mapping[str, Any]) -> int:
    """Largest resident size among this process and the children it waited for (Linux counts in KiB)."""
    import resource

    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(max(usage) * 1024, int(figures.get("peak_bytes", 0)))
