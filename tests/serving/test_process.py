import os
import sys
import time
from pathlib import Path

import pytest

from tuneward.errors import ServingError
from tuneward.serving.client import EngineClient
from tuneward.serving.process import EngineProcess

FAKE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))


def engine(folder: Path, **options) -> EngineProcess:
    return EngineProcess(
        folder, name="base", adapters_root=folder, log_file=folder / "log" / "engine.log", command=FAKE, **options
    )


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process that need not be our child ends within the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_runs_inside_the_block_and_ends_with_it(tmp_path):
    with engine(tmp_path) as running:
        assert running.precision == "fp32"
        with EngineClient(running.url, running.key) as client:
            assert client.models() == ["base"]
        running.check_alive()
        pid = running.pid
        assert pid is not None
    assert not running.alive()
    assert gone(pid, 1)
    with pytest.raises(ServingError, match="TW-SERV-033"):
        running.check_alive()


def test_everything_it_prints_is_in_the_log_and_the_key_is_nowhere(tmp_path):
    with engine(tmp_path) as running:
        key = running.key
    text = (tmp_path / "log" / "engine.log").read_text()
    assert "a line for the log" in text
    assert "chatter that is no JSON" in text
    assert key not in text
    assert key not in repr(running)


def test_the_engines_own_faults_come_through(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE_MODE", "faults")
    with pytest.raises(ServingError) as caught:
        engine(tmp_path).start()
    assert [f.code for f in caught.value.faults] == ["TW-SERV-044", "TW-SERV-032"]
    assert caught.value.faults[0].cure == "pull it"


@pytest.mark.parametrize(("mode", "said"), [("exit", "exit status 7"), ("silent", "within 0.5 seconds")])
def test_an_engine_that_does_not_start_is_said_and_ended(tmp_path, monkeypatch, mode, said):
    monkeypatch.setenv("FAKE_ENGINE_MODE", mode)
    starting = engine(tmp_path, start_seconds=30.0 if mode == "exit" else 0.5)
    with pytest.raises(ServingError, match=said) as caught:
        starting.start()
    assert caught.value.faults[0].place.endswith("engine.log")
    assert not starting.alive()


def test_an_engine_that_will_not_go_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_ENGINE_MODE", "stubborn")
    running = engine(tmp_path)
    running.start()
    running.stop(grace_seconds=0.3)
    assert not running.alive()


def test_a_missing_program_is_a_fault(tmp_path):
    with pytest.raises(ServingError, match="TW-SERV-032"):
        EngineProcess(
            tmp_path, name="b", adapters_root=tmp_path, log_file=tmp_path / "l", command=["/nowhere/engine"]
        ).start()
