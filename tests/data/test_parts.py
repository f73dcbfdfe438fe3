"""Parts: every text of a record is seen, and only what is named is replaced."""

import json

from tuneward.data.parts import parts_of, with_texts
from tuneward.domain.record import Message, Record, Source

CALLS = '[{"type":"function","function":{"name":"f","arguments":"{\\"b\\":1,\\"a\\":\\"x\\"}"}}]'
RECORD = Record(
    "rec_1",
    (Message("user", "q"), Message("assistant", "", CALLS), Message("tool", "r"), Message("assistant", "a")),
    Source("f", "0", 1),
    None,
    "train",
    rejected=Message("assistant", "w", CALLS),
    tools='[{"function":{"name":"f"}}]',
)


def test_every_text_has_its_part():
    assert [part.name for part in parts_of(RECORD)] == [
        *("messages[0].content", "messages[1].content", "messages[1].tool_calls", "messages[2].content"),
        *("messages[3].content", "rejected.content", "rejected.tool_calls", "tools"),
    ]
    calls = parts_of(RECORD)[2].text
    assert json.loads(calls)[0]["function"]["arguments"] == {"b": 1, "a": "x"}


def test_what_is_not_named_stays_to_the_character():
    assert with_texts(RECORD, {}) == RECORD
    assert with_texts(RECORD, {part.name: part.text for part in parts_of(RECORD)}) == RECORD


def test_what_is_named_is_replaced():
    calls = parts_of(RECORD)[2].text.replace('"x"', '"y"')
    changed = with_texts(RECORD, {"messages[1].tool_calls": calls, "rejected.content": "v"})
    arguments = json.loads(changed.messages[1].tool_calls)[0]["function"]["arguments"]
    assert arguments == '{"b":1,"a":"y"}'
    assert changed.rejected == Message("assistant", "v", CALLS)
    assert changed.messages[0] == RECORD.messages[0]
