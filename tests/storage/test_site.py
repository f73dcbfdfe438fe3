import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tuneward.errors import StorageError
from tuneward.storage.site import Site

HOLD = """
import sys
from pathlib import Path
from tuneward.storage.site import Site
with Site.open(Path(sys.argv[1])).lock(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(site: Site, purpose: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(site.folder), purpose],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_create_then_open(site):
    again = Site.open(site.folder)
    assert (again.id, again.folder) == (site.id, site.folder)
    assert stat.S_IMODE(site.keys_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(site.folder.stat().st_mode) == 0o700
    assert site.run_folder("run_1").is_dir()
    assert [path.name for path in site.folder.parent.iterdir()] == [".tuneward"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_takes_no_key_and_no_row_of_a_site(site):
    work = site.folder.parent
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    (site.keys_folder / "secret").write_text("x")
    seen = subprocess.run(["git", "status", "--short", "-uall"], cwd=work, capture_output=True, text=True, check=True)
    assert seen.stdout == ""


def test_create_refuses_what_is_there_and_leaves_it(site):
    before = sorted(site.folder.rglob("*"))
    with pytest.raises(StorageError, match="TW-STOR-002"):
        Site.create(site.folder)
    assert [p for p in sorted(site.folder.rglob("*")) if "site.db-" not in p.name] == [
        p for p in before if "site.db-" not in p.name
    ]


def test_create_leaves_nothing_when_it_fails(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tuneward.storage.site.bring_up_to_date", fail)
    with pytest.raises(StorageError, match="TW-STOR-007"):
        Site.create(tmp_path / ".tuneward")
    assert list(tmp_path.iterdir()) == []


def test_open_says_what_is_wrong(site, tmp_path):
    with pytest.raises(StorageError, match="TW-STOR-001"):
        Site.open(tmp_path / "none")
    path = site.folder / "site.json"
    path.write_text("{")
    with pytest.raises(StorageError, match="TW-STOR-003"):
        Site.open(site.folder)
    path.write_text(json.dumps({"format": 99, "id": site.id}))
    with pytest.raises(StorageError, match="format 99"):
        Site.open(site.folder)


def test_find_looks_upwards_and_the_environment_wins(site, tmp_path, monkeypatch):
    deep = site.folder.parent / "a" / "b"
    deep.mkdir(parents=True)
    assert Site.find(deep) == site.folder
    assert Site.find(tmp_path) is None
    monkeypatch.setenv("TUNEWARD_SITE", str(site.folder.parent))
    assert Site.find(tmp_path) == site.folder
    monkeypatch.setenv("TUNEWARD_SITE", str(site.folder))
    assert Site.find(tmp_path) == site.folder
    monkeypatch.setenv("TUNEWARD_SITE", str(tmp_path / "other"))
    assert Site.find(deep) == tmp_path / "other"


def test_a_second_process_is_refused_and_told_who_works(site):
    process = hold(site, "train")
    try:
        with pytest.raises(StorageError) as caught, site.lock("prepare"):
            pytest.fail("entered")
        (fault,) = caught.value.faults
        assert fault.code == "TW-STOR-005"
        assert f"pid {process.pid}, `train`" in fault.message
        assert str(process.pid) in fault.cure
        with site.lock("serve"):
            pass  # serving has a lock of its own
    finally:
        process.communicate("")
    with site.lock("prepare"):
        pass


def test_a_lock_whose_holder_was_killed_is_no_obstacle(site):
    process = hold(site, "train")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert b"train" in (site.folder / "lock").read_bytes()  # stale words stay behind
    with site.lock("prepare"):
        assert json.loads((site.folder / "lock").read_bytes())["pid"] == os.getpid()


def test_the_holder_may_take_it_again_but_no_other_thread(site):
    refused = []

    def other():
        try:
            with site.lock("other"):
                pass
        except StorageError as error:
            refused.append(error)

    with site.lock("run"):
        with site.lock("train"):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    with Site.open(site.folder).lock("next"):
        pass


def test_the_lock_is_let_go_when_the_body_fails(site):
    with pytest.raises(RuntimeError), site.lock("train"):
        raise RuntimeError
    with site.lock("train"):
        pass


def test_a_site_of_a_database_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEWARD_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere.db")
    site = Site.create(tmp_path / ".tuneward")
    assert not (site.folder / "site.db").exists()
    assert Path(tmp_path / "elsewhere.db").exists()


def test_what_a_killed_step_left_is_swept_by_the_next(tmp_path: Path) -> None:
    site = Site.create(tmp_path / ".tuneward")
    left = site.folder / "runs" / "tmpabc123"
    left.mkdir()
    (left / "rows.jsonl").write_text("a row")
    run = site.run_folder("run_1")
    with site.lock("serve"):
        assert left.exists()
    with site.lock("prepare"):
        assert not left.exists()
        assert run.exists()


def test_held_tells_of_another_holder(tmp_path: Path) -> None:
    site = Site.create(tmp_path / ".tuneward")
    assert not site.held("serve")
    with Site.open(site.folder).lock("serve"):
        assert site.held("serve")
    assert not site.held("serve")


@pytest.mark.parametrize("left", [None, b""])
def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path: Path, left: bytes | None) -> None:
    site = Site.create(tmp_path / ".tuneward")
    site.database.close()
    for path in site.folder.glob("site.db*"):
        path.unlink()
    if left is not None:
        (site.folder / "site.db").write_bytes(left)
    with pytest.raises(StorageError, match="TW-STOR-003"):
        Site.open(site.folder)


def test_whoever_asks_does_not_keep_off_who_takes(site: Site) -> None:
    other, ended = Site.open(site.folder), threading.Event()

    def ask() -> None:
        while not ended.is_set():
            other.held("serve")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            with site.lock("serve"):
                pass
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_long_look_is_waited_for_and_leaves_no_words(site: Site) -> None:
    with site.lock("serve"):
        pass
    with (site.folder / "lock-serve").open("rb") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not site.held("serve")
        threading.Timer(0.2, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with site.lock("serve"):
            assert site.held("serve")


def test_asking_makes_no_file(site: Site) -> None:
    assert not site.held("serve")
    assert not (site.folder / "lock-serve").exists()


def test_what_was_made_from_older_rows_is_swept_and_only_that(site):
    old, now = "0" * 64, "1" * 64
    elsewhere = site.folder.parent / "disk"  # a larger one, which holds other things as well
    elsewhere.mkdir()
    (site.folder / "cache").symlink_to(elsewhere)
    for name in (old, now, "holidays"):
        folder = site.cache_folder(name) / "tokens"
        folder.mkdir(parents=True)
        (folder / "ids").write_text("rows")
    site.sweep_cache({now})
    assert sorted(made.name for made in elsewhere.iterdir()) == [now, "holidays"]
    site.sweep_cache({now})
    assert (site.cache_folder(now) / "tokens" / "ids").is_file()
