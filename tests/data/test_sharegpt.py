"""ShareGPT's and Alpaca's rows: the same records as OpenAI's, guessed, shown, or named in the settings."""

import json

import pytest
from data_cases import prepare, refused, row, write_rows

from tuneward.data.sharegpt import as_openai

TURNS = [("system", "Be brief."), ("human", "Hi?"), ("gpt", "Hello."), ("human", "And?"), ("gpt", "Done.")]
SHARED = [{"from": speaker, "value": text} for speaker, text in TURNS]
ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


def said(prepared):
    return [[(m.role, m.content) for m in record.messages] for record in prepared.train]


@pytest.mark.parametrize("column", ["conversations", "messages"])
def test_turns_from_and_value_are_roles_and_content(tmp_path, column):
    write_rows(tmp_path / "train.jsonl", [{column: SHARED, "id": "x"}])
    prepared = prepare(tmp_path)
    assert said(prepared) == [[(ROLES[speaker], text) for speaker, text in TURNS]]
    assert list(prepared.card["files"][0].values()).count(f"conversations from `{column}`") == 1


def test_another_column_is_named(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"dialogue": SHARED}])
    assert len(prepare(tmp_path, messages="dialogue").train) == 1


def test_calls_of_functions_and_what_they_gave_back(tmp_path):
    call = json.dumps({"name": "weather", "arguments": {"city": "Bern"}})
    turns = [("human", "Rain?"), ("function_call", call), ("observation", "sunny"), ("gpt", "No rain.")]
    write_rows(tmp_path / "train.jsonl", [{"conversations": [{"from": s, "value": v} for s, v in turns]}])
    messages = prepare(tmp_path).train[0].messages
    assert [m.role for m in messages] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(messages[1].tool_calls)[0]["function"]["name"] == "weather"


@pytest.mark.parametrize(
    ("turns", "code"),
    [
        ([("gpt", "Hello."), ("human", "Hi?"), ("gpt", "Yes.")], "TW-DATA-017"),
        ([("human", "Hi?"), ("robot", "Yes.")], "TW-DATA-017"),
        ([("human", "Hi?"), ("gpt", "")], "TW-DATA-018"),
        ([("human", "Hi?"), ("function_call", "no json"), ("observation", "x"), ("gpt", "y")], "TW-DATA-038"),
    ],
)
def test_unsound_turns_are_refused_as_openais_are(tmp_path, turns, code):
    write_rows(tmp_path / "train.jsonl", [{"conversations": [{"from": s, "value": v} for s, v in turns]}])
    assert refused(tmp_path) == [(code, "train.jsonl:1")]


@pytest.mark.parametrize("turn", [{"role": "user", "content": "x"}, "x", None, {"from": "human"}, {"value": "x"}])
def test_other_values_stay_as_they_are(turn):
    assert as_openai(turn) is turn


def test_alpacas_input_follows_the_instruction_also_where_only_later_rows_have_one(tmp_path):
    rows = [{"instruction": "Say.", "output": "x"}, {"instruction": "Sum.", "input": "1 2", "output": "3"}]
    write_rows(tmp_path / "train.jsonl", rows)
    assert [record[0][1] for record in said(prepare(tmp_path))] == ["Say.", "Sum.\n\n1 2"]
    (tmp_path / "train.json").write_text(json.dumps(rows[::-1], indent=2))
    assert [record[0][1] for record in said(prepare(tmp_path, train=["train.json"]))] == ["Sum.\n\n1 2", "Say."]


def test_the_further_input_can_be_named_and_a_wrong_name_is_told(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"task": "Sum.", "about": "1 2", "result": "3"}])
    names = {"prompt": "task", "answer": "result"}
    assert said(prepare(tmp_path, **names, input="about"))[0][0] == ("user", "Sum.\n\n1 2")
    assert said(prepare(tmp_path, **names))[0][0] == ("user", "Sum.")
    assert refused(tmp_path, **names, input="abuot") == [("TW-DATA-015", "train.jsonl")]


@pytest.mark.parametrize("names", [("question", "response"), ("query", "response"), ("input", "output")])
def test_further_names_of_prompt_and_answer(tmp_path, names):
    write_rows(tmp_path / "train.jsonl", [dict(zip(names, row().values(), strict=True))])
    assert len(prepare(tmp_path).train) == 1
