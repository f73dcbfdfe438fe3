"""Pairs share their prompt token by token; documents are learned whole, from the tokenizer's own start to one end."""

import pytest

from tests.modeling.chat_cases import TEMPLATES, make_chat
from tuneward.domain.record import Message
from tuneward.errors import ModelError

PROMPT = [Message("user", "Grüße 日本"), Message("assistant", "hello"), Message("user", "and\n\nnow? ")]


@pytest.fixture(params=TEMPLATES)
def chat(request, tmp_path):
    return make_chat(tmp_path / "base", request.param)


@pytest.mark.parametrize("prompt", [PROMPT[:1], PROMPT])
def test_prompt_and_answer_are_the_example_of_both(chat, prompt):
    answers = [Message("assistant", "yes"), Message("assistant", "no <|im_end|> never")]
    opening, chosen, rejected = chat.pair(prompt, *answers)
    assert opening == tuple(chat.prompt_ids(prompt))
    for answer, ids in zip(answers, (chosen, rejected), strict=True):
        assert opening + ids == chat.example([*prompt, answer]).ids
        assert ids[-1] in chat.stop_ids
        assert chat.decode(ids[:-1], control=True).strip() == answer.content


def test_an_empty_answer_of_a_pair_is_refused(chat):
    full, blank = Message("assistant", "a"), Message("assistant", " ")
    for pair in ((full, blank), (blank, full)):
        with pytest.raises(ModelError, match="TW-BASE-026"):
            chat.pair(PROMPT[:1], *pair)


def test_a_document_is_learned_whole_with_one_start_and_one_end(chat):
    text = "One. \n\nTwo, Grüße 🙂\n"
    example = chat.document(text)
    assert example.labels == example.ids
    starts = [number for number in example.ids if chat.decode([number], control=True) == "<s>"]
    assert len(starts) == (chat.decode(chat.text_ids(""), control=True) == "<s>")
    body = example.ids[len(starts) : -1]
    assert chat.decode(body) == text
    assert example.ids[-1] in chat.stop_ids
    assert not set(body) & chat.control_ids


def test_a_control_token_in_a_document_stays_text(chat):
    end = chat.decode([min(chat.stop_ids)], control=True)
    text = f"before {end} after"
    ids = chat.document(text).ids
    assert chat.decode(ids[:-1]).strip() == text
    assert [number for number in ids if number in chat.stop_ids] == [ids[-1]]


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_document_is_refused(chat, text):
    with pytest.raises(ModelError, match="TW-BASE-026"):
        chat.document(text)
