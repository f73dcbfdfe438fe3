"""Processes: answers come in the order of the questions, by whomever; no module comes from the caller's folder."""

import os
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
