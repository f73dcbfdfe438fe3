"""Rows that were exported are read back as the rows they were, from every format."""

import json

import pytest
from data_cases import prepare, row, write_rows

from tuneward.data.export import FORMATS, columns_of
from tuneward.data.export import write_rows as export

CALLS = [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CASES = {
    "conversation": [
        row('a "quoted", line\nand another', "b"),
        {
            "messages": [
                {"role": "user", "content": "é\u2028"},
                {"role": "assistant", "content": "", "tool_calls": CALLS},
                {"role": "tool", "content": "1"},
                {"role": "assistant", "content": "=1+1"},
            ],
            "tools": TOOLS,
        },
    ],
    "pair": [{"prompt": f"p{n}", "chosen": "good", "rejected": "bad", "margin": n} for n in range(2)],
    "judged": [row(f"q{n}", label=n == 0) for n in range(2)],
    "document": [{"text": "One.\n\nTwo."}, {"text": "Three, four"}],
}


def bare(record):
    return (record.messages, record.rejected, record.desirable, record.margin, record.tools)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("form", CASES)
def test_what_goes_out_comes_back(tmp_path, form, format):
    for number, given in enumerate(CASES[form]):
        write_rows(tmp_path / f"{number}.jsonl", [given])
    prepared = prepare(tmp_path, train=["0.jsonl", "1.jsonl"], form=form)
    path = tmp_path / f"out.{format}"
    forms = {record.form for record in prepared.train}
    assert export(prepared.train, path, forms=forms, format=format) == 2
    again = prepare(tmp_path, train=[path.name], form=form)
    assert [bare(record) for record in again.train] == [bare(record) for record in prepared.train]


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_rows_give_the_same_bytes_and_no_rows_a_file(tmp_path, format):
    write_rows(tmp_path / "train.jsonl", [row(f"q{n}") for n in range(2_500)])
    train = prepare(tmp_path).train
    for name in ("one", "two"):
        assert export(iter(train), tmp_path / name, forms={"conversation"}, format=format) == 2_500
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert export([], tmp_path / "none", forms=set(), format=format) == 0


def test_rows_go_out_with_where_they_come_from_and_without_whom_they_are_about(tmp_path):
    write_rows(tmp_path / "train.jsonl", [row("q", who="Eve")])
    prepared = prepare(tmp_path, subject="who")
    export(prepared.train, tmp_path / "out.jsonl", forms={"conversation"}, format="jsonl")
    (written,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert (written["id"], written["split"], written["source"]) == (prepared.train[0].id, "train", "train.jsonl:1")
    assert "sub_" not in json.dumps(written)
    assert set(columns_of({"conversation", "pair"})) >= {"messages", "chosen", "rejected"}
