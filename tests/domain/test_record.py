"""Records as JSON: every kind comes back as it was, and rows of conversations keep the form they have always had."""

from hypothesis import given
from hypothesis import strategies as st

from tuneward.digests import canonical_json
from tuneward.domain.record import Message, Record, Source

SOURCE = Source("train.jsonl", "0" * 64, 1)
CALLS = '[{"type":"function","function":{"name":"f","arguments":"{}"}}]'

messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool", "document"]),
    content=st.text(max_size=20),
    tool_calls=st.sampled_from([None, CALLS]),
)
records = st.builds(
    Record,
    id=st.just("rec_1"),
    messages=st.lists(messages, min_size=1, max_size=4).map(tuple),
    source=st.just(SOURCE),
    subject=st.sampled_from([None, "sub_1"]),
    split=st.sampled_from(["train", "test"]),
    rejected=st.none() | messages,
    desirable=st.sampled_from([None, True, False]),
    margin=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    tools=st.sampled_from([None, "[]"]),
)


@given(records)
def test_every_record_comes_back_as_it_was(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record


def test_a_conversation_has_the_form_that_its_digest_was_made_of() -> None:
    record = Record("rec_1", (Message("user", "q"), Message("assistant", "a")), SOURCE, None, "train")
    assert canonical_json(record.to_json()).decode() == (
        '{"id":"rec_1","messages":[{"content":"q","role":"user"},{"content":"a","role":"assistant"}],'
        f'"source":{{"file_digest":"{"0" * 64}","line":1,"path":"train.jsonl"}},"split":"train","subject":null}}'
    )


def test_what_kind_of_row_it_is() -> None:
    talk = (Message("user", "q"), Message("assistant", "a"))

    def form(messages: tuple[Message, ...], **more: object) -> str:
        return Record("rec_1", messages, SOURCE, None, "train", **more).form  # type: ignore[arg-type]

    assert form(talk) == "conversation"
    assert form(talk, rejected=Message("assistant", "b")) == "pair"
    assert form(talk, desirable=False) == "judged"
    assert form((Message("document", "text"),)) == "document"
