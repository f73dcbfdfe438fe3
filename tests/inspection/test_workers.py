"""Workers: they find what this process finds; one that dies is done without; none outlives the block or its parent."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuneward import processes
from tuneward.inspection import identity
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.identity import inspector_digest, rules_digest
from tuneward.inspection.inspector import make_inspector
from tuneward.inspection.workers import make_workers

TEXTS = ["Write to anna@example.org.", "nothing", "", "\ud800 lone \x00 ü 😀 +49 170 1234567", "plain\nlines\r\n"]
SETTINGS = InspectionConfig(terms={"customers": "terms.txt"}, patterns={"order": "ORD-[0-9]+"})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "terms.txt").write_text("Contoso\n", encoding="utf-8")
    return tmp_path


@contextmanager
def working(config, folder, *, count, inspector):
    workers = make_workers(config, folder, count=count, inspector=inspector)
    try:
        yield workers
    finally:
        workers.end()


def pids(workers):
    return [child.pid for child in workers._children]


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_they_find_what_this_process_finds(folder):
    texts = [*TEXTS, "Contoso has ORD-17 and a card 4111 1111 1111 1111."] * 3
    inspector = make_inspector(SETTINGS, folder=folder)
    with working(SETTINGS, folder, count=2, inspector=inspector) as workers:
        answers = [workers.submit(texts[begin : begin + 4]) for begin in range(0, len(texts), 4)]
        found = [found for answer in answers for found in answer.result()]
        started = pids(workers)
    assert found == [inspector.inspect(text) for text in texts]
    assert {finding.kind for in_text in found for finding in in_text} >= {"term:customers", "pattern:order", "email"}
    assert workers.lost == 0
    assert not any(map(lives, started))


def test_one_that_dies_is_done_without(folder):
    inspector = make_inspector(SETTINGS, folder=folder)
    wanted = [inspector.inspect(text) for text in TEXTS]
    with working(SETTINGS, folder, count=2, inspector=inspector) as workers:
        assert workers.submit(TEXTS).result() == wanted
        for pid in pids(workers):
            os.kill(pid, signal.SIGKILL)
        assert [workers.submit(TEXTS).result() for _ in range(4)] == [wanted] * 4
        assert workers.lost == 2


def test_none_can_be_started(folder, monkeypatch):
    inspector = make_inspector(SETTINGS, folder=folder)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with working(SETTINGS, folder, count=2, inspector=inspector) as workers:
        assert workers.submit(TEXTS).result() == [inspector.inspect(text) for text in TEXTS]


def test_an_interruption_ends_them(folder):
    inspector = make_inspector(SETTINGS, folder=folder)
    started = []

    def interrupted():
        with working(SETTINGS, folder, count=2, inspector=inspector) as workers:
            for _ in range(20):
                workers.submit(["x anna@example.org " * 5000])
            started.extend(pids(workers))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(started) == 2
    assert not any(map(lives, started))


PARENT = """
import sys, time
from pathlib import Path
from tuneward.inspection.config import InspectionConfig
from tuneward.inspection.inspector import standard
from tuneward.inspection.workers import make_workers
workers = make_workers(InspectionConfig(), Path("."), count=2, inspector=standard())
workers.submit(["text"]).result()
print(*(child.pid for child in workers._children), flush=True)
time.sleep(60)
"""


def test_they_end_with_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(lives, children))
    parent.kill()
    parent.wait()
    until = time.monotonic() + 30
    while any(map(_runs, children)):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.02)


def _runs(pid):
    """Whether it still runs; one that has ended and that nobody has waited for does not."""
    try:
        with Path(f"/proc/{pid}/stat").open() as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_digest_covers_python(folder, monkeypatch):
    one = inspector_digest(SETTINGS, folder=folder)
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    assert one != inspector_digest(SETTINGS, folder=folder)


def test_the_digest_covers_settings_and_lists(folder):
    one = inspector_digest(SETTINGS, folder=folder)
    assert one == inspector_digest(SETTINGS, folder=folder)
    assert one != inspector_digest(InspectionConfig(), folder=folder)
    (folder / "terms.txt").write_text("Fabrikam\n", encoding="utf-8")
    assert one != inspector_digest(SETTINGS, folder=folder)


def test_a_worker_that_leaves_a_text_out_is_done_without(folder, monkeypatch):
    """Its text would pass as clean."""
    inspector = make_inspector(SETTINGS, folder=folder)
    monkeypatch.setattr(processes._Child, "ask", lambda child, texts: [[] for _ in texts[1:]])
    with working(SETTINGS, folder, count=1, inspector=inspector) as workers:
        assert workers.submit(TEXTS).result() == [inspector.inspect(text) for text in TEXTS]
        assert workers.lost == 1


def test_the_rules_are_every_file_of_the_room_and_no_machine(monkeypatch, tmp_path):
    rules_digest.cache_clear()
    one = rules_digest()
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    rules_digest.cache_clear()
    assert rules_digest() == one, "the same rules on another machine make no dataset stale"
    room = tmp_path / "inspection"
    shutil.copytree(Path(identity.__file__).parent, room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "__file__", str(room / "identity.py"))
    rules_digest.cache_clear()
    assert rules_digest() == one
    with (room / "quality" / "toxicity.py").open("a", encoding="utf-8") as file:
        file.write("# mended\n")
    assert rules_digest() == one, "read once in a process"
    rules_digest.cache_clear()
    assert rules_digest() != one
    monkeypatch.undo()
    rules_digest.cache_clear()
