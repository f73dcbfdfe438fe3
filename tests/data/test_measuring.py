"""Measuring: processes beside this one give the same sizes and the same refusals, in the same order."""

import pytest

from tests.tiny import make_tiny_base
from tuneward.data import measuring as module
from tuneward.data.measuring import Measuring, make_processes
from tuneward.domain.record import Message, Record, Source
from tuneward.errors import ModelError
from tuneward.modeling.chat import Chat


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base") / "base")


def rows(count):
    """Conversations, pairs, judged answers and passages; some that the template cannot take."""
    for number in range(count):
        kind = number % 5
        text = f"row {number} " * (number % 7 + 1)
        messages = (Message("user", text), Message("assistant", "" if number % 23 == 7 else f"yes {number}"))
        more = {"rejected": Message("assistant", f"no {number}")} if kind == 1 else {}
        more |= {"desirable": True} if kind == 2 else {}
        if kind == 3:
            messages = (Message("document", text),)
        split = "test" if number % 11 == 0 else "train"
        yield Record(f"r{number}", messages, Source("f", "", number), None, split, **more)


def told(measured):
    return [
        (record.id, [vars(fault) for fault in value.faults] if isinstance(value, ModelError) else value)
        for record, value in measured
    ]


def test_sizes_do_not_depend_on_where_they_are_measured(base, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_TOGETHER", 8)
    monkeypatch.setattr(module, "_ROWS_ALONE", 20)
    chat = Chat.load(base)
    alone = told(Measuring(chat).each(rows(150)))
    assert [name for name, _ in alone] == [f"r{number}" for number in range(150)]
    assert sum(isinstance(value, list) for _, value in alone) > 2
    processes = make_processes(base, count=2, chat=chat)
    try:
        assert told(Measuring(chat, processes).each(rows(150))) == alone
        assert processes.lost == 0
        for child in processes._children:
            child.end()
        assert told(Measuring(chat, processes).each(rows(150))) == alone
        assert processes.lost == 2
    finally:
        processes.end()


def test_few_rows_start_no_process(base):
    chat = Chat.load(base)
    processes = make_processes(base, count=2, chat=chat)
    list(Measuring(chat, processes).each(rows(30)))
    assert processes._children == []
    processes.end()
