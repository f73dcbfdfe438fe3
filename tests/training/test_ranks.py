import sys
import time
from pathlib import Path

import pytest

from tuneward.errors import TrainingError
from tuneward.training import ranks
from tuneward.training.config import TrainingConfig

LIVES = "import time; time.sleep(60)"


def run(code, tmp_path, *, count=2, stop=lambda: False):
    return ranks.run_ranks([sys.executable, "-c", code], count=count, folder=tmp_path, stop=stop)


def test_each_gets_torchruns_environment_and_a_log_of_its_own(tmp_path, capfd):
    names = "'RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'GLOO_SOCKET_IFNAME'"
    code = f"import os, sys; print(*(os.environ[x] for x in [{names}]), file=sys.stderr)"
    assert run(code, tmp_path) == 0
    assert capfd.readouterr().err == "0 0 2 lo\n"
    assert (tmp_path / "process.rank1.log").read_text() == "1 1 2 lo\n"


@pytest.mark.parametrize(("death", "code"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", -9)])
def test_one_that_dies_ends_the_others_and_its_code_is_kept(tmp_path, death, code):
    began = time.monotonic()
    script = f"import os, sys, time\nif os.environ['RANK'] == '1': {death}\ntime.sleep(60)"
    assert run(script, tmp_path) == code
    assert time.monotonic() - began < 30


def test_one_that_does_not_end_by_itself_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "GRACE_SECONDS", 0.3)
    script = (
        "import os, signal, sys, time\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "if os.environ['RANK'] == '0':\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN); open('deaf', 'w').close(); time.sleep(60)\n"
        "while not os.path.exists('deaf'): time.sleep(0.01)\n"
        "sys.exit(7)"
    )
    assert run(script, tmp_path) == 7


def test_a_stop_reaches_all(tmp_path):
    script = (
        "import os, signal, sys, time\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        "open('ready' + os.environ['RANK'], 'w').close()\n"
        "time.sleep(60)"
    )
    assert run(script, tmp_path, stop=lambda: len(list(tmp_path.glob("ready*"))) == 2) == 130


def test_stopped_before_they_listen_is_stopped(tmp_path):
    assert run(LIVES, tmp_path, stop=lambda: True) == 130


@pytest.mark.parametrize(
    ("settings", "devices", "count"),
    [({}, 0, 1), ({}, 4, 4), ({"device": "cpu"}, 4, 1), ({"processes": 3}, 0, 3), ({"processes": 1}, 4, 1)],
)
def test_as_many_as_there_are_devices_unless_told(monkeypatch, settings, devices, count):
    monkeypatch.setattr(ranks, "cuda_devices", lambda: devices)
    assert ranks.processes_of(TrainingConfig(**settings)) == count


def test_without_a_device_file_torch_is_not_asked(monkeypatch, tmp_path):
    from tuneward.modeling import machine

    monkeypatch.setattr(machine, "DEVICES", Path(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert machine.cuda_devices() == 0


def test_more_processes_than_memory_holds_are_refused_before_any_starts(monkeypatch):
    monkeypatch.setattr(ranks, "available_memory_bytes", lambda: 3 * ranks.PROCESS_BYTES)
    assert ranks.processes_of(TrainingConfig(processes=3)) == 3
    with pytest.raises(TrainingError) as caught:
        ranks.processes_of(TrainingConfig(processes=99))
    assert [(fault.code, fault.place) for fault in caught.value.faults] == [("TW-TRAIN-006", "training.processes")]
