"""Tools: calls are learned as four families of templates write them, and what a template leaves out is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.modeling.chat_cases import TEMPLATES, learned, make_chat
from tuneward.domain.record import Message
from tuneward.errors import ModelError
from tuneward.modeling.tools import calls_of, listed, require_calls, tool_list

TOOLS = json.dumps(
    [
        {
            "type": "function",
            "function": {"name": "weather", "description": "zu Grüßen", "parameters": {"z": 1, "a": 2}},
        },
        {"type": "function", "function": {"name": "clock", "parameters": {}}},
    ],
    ensure_ascii=False,
)


def call(name="weather", arguments='{"city":"Köln","days":2}', identifier=None):
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": identifier, **made} if identifier else made


def calls(*made):
    return json.dumps(list(made) or [call()], ensure_ascii=False, separators=(",", ":"))


TALK = (
    Message("user", "How warm is it?"),
    Message("assistant", "", calls()),
    Message("tool", "21 °C"),
    Message("assistant", "It is warm."),
)


@pytest.fixture(params=TEMPLATES)
def chat(request, tmp_path):
    return make_chat(tmp_path / "base", request.param)


def test_a_call_is_learned_as_the_template_writes_it_with_its_end(chat):
    example = chat.example(TALK, tools=TOOLS)
    call_, answer = learned(chat, example.ids, example.labels)
    end = chat.decode([min(chat.stop_ids)], control=True)
    assert "weather" in call_
    assert json.dumps({"city": "Köln", "days": 2}, ensure_ascii=False) in call_
    assert call_.endswith(end)
    assert call_.count(end) == 1
    assert answer.strip().removeprefix("<think>\n\n</think>\n\n") == f"It is warm.{end}"
    assert "21 °C" not in call_ + answer
    assert "zu Grüßen" in chat.decode(example.ids)


@pytest.mark.parametrize("turns", [2, 4])
def test_the_prompt_is_the_beginning_of_its_example(chat, turns):
    example, prompt = chat.example(TALK[:turns], tools=TOOLS), chat.prompt_ids(TALK[: turns - 1], tools=TOOLS)
    assert list(example.ids[: len(prompt)]) == prompt
    assert all(label >= 0 for label in example.labels[len(prompt) :])


def test_words_before_a_call_are_learned_with_it(tmp_path):
    chat = make_chat(tmp_path, "qwen")
    example = chat.example([TALK[0], Message("assistant", "Let me look.", calls())], tools=TOOLS)
    (said,) = learned(chat, example.ids, example.labels)
    assert said.startswith("Let me look.\n<tool_call>")


def test_words_that_the_template_leaves_out_are_refused(tmp_path):
    with pytest.raises(ModelError, match="TW-BASE-023"):
        make_chat(tmp_path, "llama").example([TALK[0], Message("assistant", "Let me look.", calls())], tools=TOOLS)


@pytest.mark.parametrize("name", ["qwen", "mistral"])
def test_several_calls_at_once_and_an_empty_result(tmp_path, name):
    chat = make_chat(tmp_path, name)
    two = calls(call(identifier="abcdefghi"), call("clock", "{}", "jklmnopqr"))
    talk = [TALK[0], Message("assistant", "", two), Message("tool", "21"), Message("tool", ""), TALK[3]]
    example = chat.example(talk, tools=TOOLS)
    said = learned(chat, example.ids, example.labels)
    assert len(said) == 2
    assert "clock" in said[0]


def test_a_call_whose_prompt_is_written_otherwise_when_it_is_known_is_refused(tmp_path):
    chat = make_chat(tmp_path, "thinking")
    template = (tmp_path / "chat_template.jinja").read_text(encoding="utf-8")
    calling = template.replace(
        r"assistant\n' }}{%- if loop.last %}{{- '<think>", r"assistant\n' }}{%- if false %}{{- '<think>"
    )
    assert calling != template
    (tmp_path / "chat_template.jinja").write_text(calling, encoding="utf-8")
    with pytest.raises(ModelError, match="TW-BASE-025"):
        type(chat).load(tmp_path).example(TALK[:2], tools=TOOLS)
    chat.example(TALK[:2], tools=TOOLS)


def test_a_template_without_tools_is_refused(tmp_path):
    chat = make_chat(tmp_path, "qwen")
    plain = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(plain, encoding="utf-8")
    chat = type(chat).load(tmp_path)
    with pytest.raises(ModelError, match=r"TW-BASE-027.*no place for tools"):
        chat.example([TALK[0], TALK[3]], tools=TOOLS)
    with pytest.raises(ModelError, match=r"TW-BASE-0(27|23)"):
        chat.example(TALK)


def test_a_control_token_in_a_call_or_tool_is_refused(chat):
    end = chat.decode([min(chat.stop_ids)], control=True)
    evil = calls(call(arguments=json.dumps({"city": f"x{end}y"})))
    with pytest.raises(ModelError, match="TW-BASE-027"):
        chat.example([TALK[0], Message("assistant", "", evil)], tools=TOOLS)
    with pytest.raises(ModelError, match="TW-BASE-027"):
        chat.prompt_ids(TALK[:1], tools=json.dumps([{"function": {"name": "f", "description": end}}]))


def test_a_pair_may_end_in_calls(chat):
    better, worse = Message("assistant", "", calls()), Message("assistant", "No idea.")
    prompt, chosen, rejected = chat.pair(TALK[:1], better, worse, tools=TOOLS)
    assert prompt + chosen == chat.example([TALK[0], better], tools=TOOLS).ids
    assert prompt + rejected == chat.example([TALK[0], worse], tools=TOOLS).ids
    assert chosen[-1] in chat.stop_ids


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '["a"]'])
def test_tools_that_are_no_list_of_objects_are_refused(text):
    with pytest.raises(ModelError, match="TW-BASE-027"):
        tool_list(text)


@pytest.mark.parametrize(
    "made", ["x", "[{}]", '[{"function": {"name": 1}}]', '[{"function":{"name":"f","arguments":"{"}}]']
)
def test_calls_that_are_none_are_refused(made):
    with pytest.raises(ModelError, match="TW-BASE-027"):
        calls_of(Message("assistant", "", made))


def test_results_carry_the_ids_of_their_calls():
    talk = [
        Message("assistant", "", calls(call(), call("clock", "{}", "own"))),
        Message("tool", "1"),
        Message("tool", "2"),
    ]
    values = listed(talk)
    assert [v.get("tool_call_id") for v in values] == [None, "call00000", "own"]
    assert values[2]["name"] == "clock"
    assert values[0]["tool_calls"][0]["function"]["arguments"] == {"city": "Köln", "days": 2}


arguments = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6),
    st.text(max_size=8) | st.integers() | st.booleans() | st.none() | st.lists(st.text(max_size=4), max_size=2),
    max_size=3,
)


@given(arguments)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_arguments_say_is_learned_or_refused(tmp_path_factory, values):
    chat = _qwen(tmp_path_factory)
    message = Message("assistant", "", calls(call(arguments=json.dumps(values, ensure_ascii=False))))
    try:
        example = chat.example([TALK[0], message])
    except ModelError:
        return
    (said,) = learned(chat, example.ids, example.labels)
    assert json.loads(said.split("<tool_call>")[1].split("</tool_call>")[0])["arguments"] == values
    require_calls(message, said)


_CHATS = {}


def _qwen(factory):
    if not _CHATS:
        _CHATS["qwen"] = make_chat(factory.mktemp("qwen"), "qwen")
    return _CHATS["qwen"]


def test_the_plain_path_does_not_see_tools(chat):
    talk = [TALK[0], TALK[3]]
    assert chat.example(talk).ids == chat.example(talk, tools=None).ids
    assert chat.example(talk).ids != chat.example(talk, tools=TOOLS).ids
