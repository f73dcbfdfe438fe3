"""Processes: answers come in the order of the questions, by whomever; no module comes from the caller's folder."""

import os
import signal
import sys

import pytest

from tuneward.processes import Processes

CHILD = """
import time
from tuneward.processes import answer_lines
def begin(settings):
    def answer(question):
        if question == "die":
            raise SystemExit(1)
        if question == "babble":
            return ["no", "number"]
        if isinstance(question, list):
            return 0
        time.sleep(0.01 * (question % 3))
        return question * settings
    return answer
answer_lines(begin)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "multiplying.py").write_text(CHILD)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return "multiplying"


def number(question, answer):
    return int(answer)


def processes(module, count=2):
    return Processes(
        module, 3, count=count, written=lambda question: question, read=number, here=lambda question: 3 * question
    )


def test_answers_are_those_of_this_process(module):
    some = processes(module)
    try:
        answers = [some.submit(number) for number in range(20)]
        assert [answer.result() for answer in answers] == [3 * number for number in range(20)]
        assert some.lost == 0
    finally:
        some.end()
        some.end()


@pytest.mark.parametrize("word", ["die", "babble"])
def test_a_child_that_ends_or_answers_nonsense_is_done_without(module, word):
    some = Processes(module, 3, count=2, written=lambda n: word if n == 4 else n, read=number, here=lambda n: 3 * n)
    try:
        answers = [some.submit(number) for number in range(12)]
        assert [answer.result() for answer in answers] == [3 * number for number in range(12)]
        assert some.lost == 1
        assert sum(child._process.poll() is None for child in some._children) == 1
    finally:
        some.end()


@pytest.mark.parametrize("length", [1, 200_000], ids=["while it reads", "while it is written to"])
def test_a_child_that_is_stopped_is_ended_in_time_and_done_without(module, length):
    said = []
    some = Processes(
        module,
        3,
        count=1,
        written=lambda n: [n] * length if n == 9 else n,
        read=number,
        here=lambda n: 3 * n,
        answer_seconds=60.0,
        told=said.append,
    )
    try:
        assert some.submit(1).result() == 3  # it has started
        (child,) = some._children
        child._answer_seconds = 0.3 - 1e-4 * 3 * length  # whatever the length, about a third of a second
        os.kill(child.pid, signal.SIGSTOP)
        assert [some.submit(n).result(timeout=60) for n in (9, 2, 3)] == [27, 6, 9]
        assert some.lost == 1
        assert child._process.poll() == -signal.SIGKILL
        (line,) = said
        assert line.startswith(f"process {child.pid} (multiplying) did not answer in ")
    finally:
        some.end()


def test_a_long_question_may_take_longer(module):
    some = Processes(module, 3, count=1, written=lambda n: [n], read=lambda n, a: 1, here=len, answer_seconds=5.0)
    try:
        some.submit(1).result()
        (child,) = some._children
        began, child._give_up = [], lambda seconds: began.append(seconds)
        child._answer_seconds = -0.5
        child.ask([7] * 10_000)  # 30,000 characters: three seconds more
        assert began == []
    finally:
        some.end()


def test_without_any_child_everything_is_answered_here(monkeypatch, module):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    some = processes(module)
    try:
        assert [some.submit(number).result() for number in range(3)] == [0, 3, 6]
        assert some.lost == 2
    finally:
        some.end()


def test_a_fault_of_ours_is_no_dead_child(module):
    def broken(question, answer):
        raise RuntimeError("a fault of ours")

    some = Processes(module, 3, count=2, written=lambda n: n, read=broken, here=lambda n: n)
    try:
        with pytest.raises(RuntimeError, match="of ours"):
            some.submit(1).result()
        assert some.lost == 0
    finally:
        some.end()


def test_no_module_is_taken_from_the_folder_that_we_were_called_in(module, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "multiplying.py").write_text("raise SystemExit(2)")
    monkeypatch.chdir(tmp_path / "here")
    some = processes(module)
    try:
        assert some.submit(5).result() == 15
        assert some.lost == 0
    finally:
        some.end()
