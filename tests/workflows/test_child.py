"""Children of ours: heard line by line; whatever ends the hearing ends the child."""

import os
import time

import pytest

from tuneward.workflows.child import follow


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Writes a module of the given lines and gives back what starts it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def make(text: str):
        (tmp_path / "worker_of_test.py").write_text("import json, os, sys, time\n" + text)

        def run(hear=lambda event: None, arguments=()):
            return follow("worker_of_test", arguments, log=tmp_path / "log", hear=hear, environment={"MARK": "here"})

        return run

    return make


def test_events_are_heard_and_figures_come_back(worker, tmp_path):
    run = worker(
        "print(json.dumps({'event': 'step', 'at': os.environ['MARK'] + sys.argv[1]}), flush=True)\n"
        "print('to the log', file=sys.stderr)\n"
        "print(json.dumps({'event': 'done', 'figures': {'n': 3}}))\n"
    )
    heard = []
    ended = run(heard.append, ["x"])
    assert heard == [{"event": "step", "at": "herex"}]
    assert (ended.code, ended.figures, ended.faults) == (0, {"n": 3}, ())
    assert (tmp_path / "log").read_text() == "to the log\n"


def test_a_job_of_several_processes_around_us_is_not_the_childs(worker, monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    names = "[name for name in os.environ if 'RANK' in name or 'WORLD' in name]"
    ended = worker(f"print(json.dumps({{'event': 'done', 'figures': {{'left': {names}}}}}))\n")()
    assert ended.figures == {"left": []}


def test_faults_come_back_as_faults(worker):
    run = worker(
        "fault = {'code': 'TW-STOR-007', 'message': 'm', 'place': 'p', 'cure': 'c'}\n"
        "print(json.dumps({'event': 'error', 'faults': [fault]}))\nsys.exit(10)\n"
    )
    ended = run()
    assert (ended.code, ended.figures, ended.faults[0].code) == (10, None, "TW-STOR-007")


def test_an_end_without_a_word_is_told_by_its_status(worker):
    ended = worker("os.kill(os.getpid(), 9)\n")()
    assert (ended.code, ended.figures, ended.faults) == (-9, None, ())


def test_figures_of_a_child_that_failed_afterwards_do_not_count(worker):
    ended = worker("print(json.dumps({'event': 'done', 'figures': {}}))\nsys.exit(1)\n")()
    assert (ended.code, ended.figures) == (1, None)


def test_a_stopped_child_stops_us(worker):
    with pytest.raises(KeyboardInterrupt):
        worker("sys.exit(130)\n")()


def test_whatever_ends_the_hearing_ends_the_child(worker):
    run = worker("print(json.dumps({'event': 'step', 'pid': os.getpid()}), flush=True)\nwhile True: time.sleep(0.1)\n")
    seen = []

    def hear(event):
        seen.append(event["pid"])
        time.sleep(0.2)
        raise RuntimeError("the disk of the bar is full")

    with pytest.raises(RuntimeError):
        run(hear)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)
