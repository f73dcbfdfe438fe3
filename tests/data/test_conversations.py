"""Conversations that call tools: OpenAI's form, its loose ends tied, and everything that is wrong with it."""

import json

import pytest
from data_cases import prepare, refused, row, write_rows

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"z": 1, "a": 2}}}


def call(name="weather", arguments='{"b": 1, "a": 2}', **more):
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def turn(role, content="x", **more):
    return {"role": role, "content": content, **more}


def talk(*turns, **more):
    return {"messages": list(turns), **more}


ASK, ANSWER = turn("user", "hot?"), turn("assistant", "warm")
CALL, RESULT = turn("assistant", None, tool_calls=[call(id="c1")]), turn("tool", "21", tool_call_id="c1")


def records(folder, *rows, **arguments):
    write_rows(folder / "train.jsonl", rows)
    return prepare(folder, **arguments).train


def test_calls_and_tools_are_kept_compact_with_their_keys_in_order(tmp_path):
    (record,) = records(tmp_path, talk(ASK, CALL, RESULT, ANSWER, tools=[TOOL]))
    assert [m.role for m in record.messages] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(record.messages[1].tool_calls) == [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"b":1,"a":2}'}}
    ]
    assert record.messages[1].content == ""
    assert record.tools == '[{"type":"function","function":{"name":"weather","parameters":{"z":1,"a":2}}}]'


@pytest.mark.parametrize(
    "calls",
    [
        [call()],
        json.dumps([call()]),
        [{"name": "weather", "arguments": {"b": 1, "a": 2}}],
        [{"function": {"name": "weather", "arguments": {"b": 1, "a": 2}}}],
    ],
)
def test_forms_of_calls_that_are_met_in_the_wild(tmp_path, calls):
    (record,) = records(tmp_path, talk(ASK, turn("assistant", "", tool_calls=calls)))
    (made,) = json.loads(record.messages[1].tool_calls)
    assert made == {"type": "function", "function": {"name": "weather", "arguments": '{"b":1,"a":2}'}}


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [TOOL["function"]]])
def test_forms_of_tools_that_are_met_in_the_wild(tmp_path, tools):
    (record,) = records(tmp_path, talk(ASK, ANSWER, tools=tools))
    assert json.loads(record.tools) == [TOOL]


@pytest.mark.parametrize("tools", [None, [], "", "[]"])
def test_no_tools_are_none(tmp_path, tools):
    (record,) = records(tmp_path, row(tools=tools))
    assert record.tools is None
    assert "tools" not in record.to_json()


def test_absent_calls_of_a_table_are_none(tmp_path):
    (record,) = records(tmp_path, talk(turn("user", "q", tool_calls=None), turn("assistant", "a", tool_calls=[])))
    assert all(message.tool_calls is None for message in record.messages)


def test_results_stand_in_the_order_of_their_calls(tmp_path):
    two = turn("assistant", "", tool_calls=[call(id="c1"), call("clock", "{}", id="c2")])
    results = turn("tool", "12:00", tool_call_id="c2"), turn("tool", "21", tool_call_id="c1")
    (record,) = records(tmp_path, talk(ASK, two, *results, ANSWER))
    assert [m.content for m in record.messages[2:4]] == ["21", "12:00"]


def test_texts_in_parts_are_joined_and_objects_of_tools_become_json(tmp_path):
    asked = turn("user", [{"type": "text", "text": "hot"}, {"type": "text", "text": "?"}])
    (record,) = records(tmp_path, talk(asked, CALL, turn("tool", {"celsius": 21}), ANSWER))
    assert [record.messages[0].content, record.messages[2].content] == ["hot?", '{"celsius":21}']


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (talk(ASK, CALL, ANSWER), "TW-DATA-017"),
        (talk(ASK, CALL, RESULT), "TW-DATA-017"),
        (talk(ASK, RESULT, ANSWER), "TW-DATA-017"),
        (talk(ASK, CALL, RESULT, RESULT, ANSWER), "TW-DATA-017"),
        (talk(ASK, CALL, RESULT, ASK, ANSWER), "TW-DATA-017"),
        (talk(ASK, turn("document", "x")), "TW-DATA-017"),
        (talk(ASK, CALL, turn("tool", "21", tool_call_id="c9"), ANSWER), "TW-DATA-038"),
        (talk(ASK, turn("assistant", "", tool_calls=[{}])), "TW-DATA-038"),
        (talk(ASK, turn("assistant", "", tool_calls="x")), "TW-DATA-038"),
        (talk(ASK, turn("assistant", "", tool_calls=[call(arguments="{")])), "TW-DATA-038"),
        (talk(ASK, turn("assistant", "", tool_calls=[call(arguments="[1]")])), "TW-DATA-038"),
        (talk(turn("user", "q", tool_calls=[call()]), ANSWER), "TW-DATA-038"),
        (talk(ASK, turn("assistant", None)), "TW-DATA-018"),
        (talk(turn("user", [{"type": "image_url"}]), ANSWER), "TW-DATA-016"),
        (talk(ASK, ANSWER, tools={"name": "weather"}), "TW-DATA-038"),
        (talk(ASK, ANSWER, tools="weather"), "TW-DATA-038"),
        (talk(ASK, ANSWER, tools=[{"description": "no name"}]), "TW-DATA-038"),
        (talk(ASK, ANSWER, tools=[1]), "TW-DATA-038"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, one, code):
    write_rows(tmp_path / "train.jsonl", [talk(ASK, ANSWER, tools=[TOOL]), one])
    assert refused(tmp_path) == [(code, "train.jsonl:2")]


def test_long_conversations_are_split_before_a_question_never_before_a_result(tmp_path):
    long = [turn("user", "a b c d"), CALL, RESULT, turn("assistant", "e f g")]
    prepared = records(tmp_path, talk(*long, *long), tokens=20, too_long="split")
    assert [len(record.messages) for record in prepared] == [4, 4]
    assert [record.messages[0].role for record in prepared] == ["user", "user"]


def test_personal_data_in_calls_and_tools_are_redacted_and_stay_json(tmp_path):
    arguments = json.dumps({"to": "ada@example.org", "n": [1, None, "x"], "again": "to ada@example.org"})
    tool = {"function": {"name": "mail", "description": "asks ada@example.org", "parameters": {}}}
    asked = turn("user", "write to ada@example.org")
    (record,) = records(
        tmp_path, talk(asked, turn("assistant", "", tool_calls=[call("mail", arguments)]), tools=[tool])
    )
    (made,) = json.loads(record.messages[1].tool_calls)
    assert json.loads(made["function"]["arguments"]) == {"to": "[EMAIL]", "n": [1, None, "x"], "again": "to [EMAIL]"}
    assert json.loads(record.tools)[0]["function"]["description"] == "asks [EMAIL]"
    assert record.messages[0].content == "write to [EMAIL]"


def test_a_number_in_a_call_that_is_personal_becomes_a_placeholder(tmp_path):
    arguments = '{"card": 4111111111111111, "ok": true}'
    (record,) = records(
        tmp_path,
        talk(turn("user", "my card 4111111111111111"), turn("assistant", "", tool_calls=[call("pay", arguments)])),
    )
    (made,) = json.loads(record.messages[1].tool_calls)
    assert json.loads(made["function"]["arguments"]) == {"card": "[CARD]", "ok": True}
