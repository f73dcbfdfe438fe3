"""The command `quickstart`: the whole road on the example, and what to do next."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tuneward.cli.output import Json, runnable, show, stdout
from tuneward.cli.progress_bar import apart, duration, progress_on_stderr
from tuneward.cli.proof import show_chain
from tuneward.cli.road import SHOW, told
from tuneward.errors import ProofError
from tuneward.workflows.quickstart import QuickstartResult
from tuneward.workflows.quickstart import quickstart as walk
from tuneward.workflows.run import StepDone


def add_to(app: typer.Typer) -> None:
    """Hang the command into the app."""
    app.command()(quickstart)


def quickstart(
    folder: Annotated[Path, typer.Option(help="A fresh folder, or one of an earlier quickstart.")] = Path("quickstart"),
    example: Annotated[
        Path | None, typer.Option(help="Another example project (tuneward.yaml and make_data.py).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the whole road on an example: about ten minutes to a tuned, served and verified model."""

    def step(done: StepDone) -> None:
        with apart(progress):
            told(done)
            if not as_json and done.step in SHOW:
                SHOW[done.step](done.result)
            if not as_json and done.step == "verify":
                show_chain(done.result)

    with progress_on_stderr() as progress:
        result = walk(folder, example=example, progress=progress, told=step)
    show(result, _end, as_json=as_json)
    if not result.verified:
        raise typer.Exit(ProofError.exit_code)


def _end(result: QuickstartResult) -> None:
    download = f"the base's download and conversion {duration(result.download_seconds)} of it"
    took = f"the road took {duration(result.seconds)} ({download})"
    if result.earlier:
        took = (
            f"this call took {duration(result.seconds)}; an earlier one had done or begun {', '.join(result.earlier)}"
        )
        took += f", whose time is not in it{'' if 'pull' in result.earlier else f'; {download}'}"
    stdout.print(f"\n{took}; largest process {result.peak_memory_bytes / 1e9:.1f} GB", soft_wrap=True)
    stdout.print(f"report: {result.report}")
    also = "; ".join(runnable(f"tuneward {verb}") for verb in ("status", "serve", "verify", "log"))
    stdout.print(f"also:   cd {shlex.quote(result.folder)}; {also}", soft_wrap=True)
