"""A disk that fills in mid-write, step after step: a clear refusal, nothing half-done, the same command then works."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.journey

OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


def _may_mount() -> bool:
    if shutil.which(OWN_MOUNTS[0]) is None:
        return False
    tried = subprocess.run([*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    return tried.returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="this machine lets no test mount a small disk")
def test_every_step_refuses_a_full_disk_and_works_with_room(tmp_path: Path) -> None:
    command = [*OWN_MOUNTS, sys.executable, "-m", "tests.journey.full_disk", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tries: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [tried["step"] for tried in tries if tried["room"] is None] == [
        "init", "pull", "prepare", "approve", "train",
    ]  # fmt: skip
    for tried in tries:
        what = f"{tried['step']} with {tried['room']} KiB: {tried['said']}"
        assert tried["left"] == [], what
        if tried["room"] is None:
            assert tried["code"] == 0, what
        else:
            assert tried["code"] not in (0, 1), what
            assert any(words in tried["said"] for words in ("free some", "make room")), what
    assert "which was interrupted" in tries[-1]["said"], "a full disk does not end a run for good"
