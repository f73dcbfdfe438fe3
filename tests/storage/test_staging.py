"""What killed processes left is swept; what lives, is young or belongs to somebody else stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuneward.storage.site import Site
from tuneward.storage.staging import sweep_files


@pytest.fixture(scope="module")
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(path: Path, *, hours: float = 2) -> Path:
    path.write_bytes(b"half")
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment))
    return path


def test_only_what_a_dead_process_left_long_ago_goes(tmp_path: Path, dead: int) -> None:
    gone = [leave(tmp_path / f".site.json.{dead}"), leave(tmp_path / f"{'a' * 64}.{dead}")]
    kept = [
        leave(tmp_path / f".site.json.{os.getpid()}"),
        leave(tmp_path / f".young.{dead}", hours=0.5),
        leave(tmp_path / f"notes.{dead}"),
        leave(tmp_path / ".env.local"),
        leave(tmp_path / ("b" * 64)),
    ]
    (tmp_path / f".folder.{dead}").mkdir()
    sweep_files(tmp_path)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
    assert (tmp_path / f".folder.{dead}").is_dir()


def test_a_site_sweeps_its_folders_as_it_opens_and_as_a_step_begins(site: Site, dead: int) -> None:
    stamp = leave(site.artifacts.folder / "stamps" / f"{'a' * 64}.{dead}")
    Site.open(site.folder)
    assert not stamp.exists()
    users = leave(site.folder.parent / f".file.{dead}")
    left = [leave(folder / f".file.{dead}") for folder in (site.folder, site.keys_folder, site.log_folder)]
    with site.lock("serve"):
        assert all(path.exists() for path in left)
    with site.lock("prepare"):
        assert not any(path.exists() for path in left)
        assert users.exists()  # beside the site lie files of which we do not know whose they are
