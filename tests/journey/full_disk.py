"""Steps of the road on a disk that has almost no room: ``unshare -rm python -m tests.journey.full_disk FOLDER``.

Makes a project on a small disk in memory of its own, which nobody outside this process and its children sees. Each step
is tried with less room than it needs, then with enough. Prints one JSON object per try.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.journey.stopped_command import run_stopped
from tests.journey.tiny_project import SETTINGS, make_project
from tuneward.workflows.approve import grant, list_requests
from tuneward.workflows.workspace import open_workspace

DISK = "24m"
KIB = 1024
QUICK = (
    SETTINGS.replace("epochs: 6", "epochs: 2")
    .replace("gate: {task.valid: {min: 0.5}}", "gate: {}")
    .replace("checkpoint_seconds: 0.5", "checkpoint_seconds: 0.001")
)
#: Command → KiB that are free in each try; None: enough.
TRIES: list[tuple[tuple[str, ...], list[int | None]]] = [
    (("init",), [0, 16, 400, None]),
    (("pull", "base"), [0, 64, None]),
    (("prepare",), [0, 40, 120, None]),
    (("approve", "request", "--why", "a test"), [0, None]),
    (("train",), [0, 200, None]),
]


def leave_free(folder: Path, kibibytes: int) -> Path:
    """Fill the folder's disk until only so much is free; returns the file to remove."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as handle:
        try:
            while True:
                handle.write(bytes(4 * KIB))
        except OSError:
            handle.truncate(max(0, handle.tell() // (4 * KIB) * 4 - kibibytes) * KIB)
    return filler


def walk(root: Path) -> None:
    """Try every step."""
    seed, folder = make_project(root / "seed", settings=QUICK), root / "project"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    shutil.copytree(seed, folder, dirs_exist_ok=True)
    for command, rooms in TRIES:
        if command[0] == "train":
            workspace = open_workspace(folder, actor="ada")
            grant(workspace.office, list_requests(workspace.office).approvals[0].id, "a test")
            workspace.site.database.close()
        for room in rooms:
            attempt(folder, command, room)


def attempt(folder: Path, command: tuple[str, ...], room: int | None) -> None:
    """Run one command with so much room; print how it ended, what it said and what it left."""
    filler = None if room is None else leave_free(folder, room)
    try:
        code, _ = run_stopped(folder, command, None)
    finally:
        if filler:
            filler.unlink()
    said = (folder.parent / "said").read_text(encoding="utf-8")
    patterns = (".tuneward-new-*", ".tuneward/runs/tmp*", ".tuneward/artifacts/tmp/*")
    left = [path.name for pattern in patterns for path in folder.glob(pattern)]
    print(json.dumps({"step": command[0], "room": room, "code": code, "said": said, "left": left}), flush=True)


if __name__ == "__main__":
    walk(Path(sys.argv[1]))
