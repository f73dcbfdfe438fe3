"""`tuneward … | head -1`: no traceback, the exit code of SIGPIPE; a gateway serves on."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tuneward
from tuneward.cli.main import READER_LEFT
from tuneward.workflows.access import create_key
from tuneward.workflows.init import init
from tuneward.workflows.workspace import open_office

PROJECT = """\
project: piped
purpose: Be read by somebody who leaves.
base: nowhere
data: {train: [t.jsonl], test: [t.jsonl], legal_basis: contract}
evaluation: {task: {kind: text}, gate: {}}
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(tuneward.__file__).parents[1]),
    "TUNEWARD_ACTOR": "ada",
    "PYTHONUNBUFFERED": "",
}
#: Stands in for the gateway: tells that it is ready, again and again until the reader has surely left, and serves on.
SERVING = """
import sys, time
from tuneward.cli import serve
from tuneward.cli.main import main
from tuneward.workflows.serve import ServeResult
def gateway(workspace, *, port, ready, progress):
    for _ in range(20):
        ready(ServeResult("http://127.0.0.1:1/v1", ("piped",), "tuneward-key"))
        time.sleep(0.05)
    print("ended by itself", file=sys.stderr)
serve.run_gateway = gateway
main(["serve"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("piped")
    init(folder, actor="ada")
    (folder / "tuneward.yaml").write_text(PROJECT, encoding="utf-8")
    office = open_office(folder, actor="ada")
    for number in range(300):
        create_key(office, f"key {number}")
    return folder


def left_alone(folder: Path, *command: str) -> tuple[int, str]:
    """Exit code and stderr of a program whose reader leaves after one line."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # smaller than what is written, however late the reader leaves
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as reader:
        assert reader.read(1)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize("command", [["log", "--last", "1000"], ["log", "--json", "--last", "1000"]])
def test_a_reader_that_leaves_gets_no_traceback(folder: Path, command: list[str]) -> None:
    assert left_alone(folder, "-m", "tuneward.cli.main", *command) == (READER_LEFT, "")


def test_a_gateway_serves_on_without_its_reader(folder: Path) -> None:
    code, errors = left_alone(folder, "-c", SERVING)
    assert code == 0
    assert "Traceback" not in errors
    assert "serving on at http://127.0.0.1:1/v1" in errors
    assert errors.endswith("ended by itself\n")


def test_a_reader_that_never_came_gets_none_either(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "tuneward.cli.main", "status"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (READER_LEFT, "")
