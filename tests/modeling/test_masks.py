"""Masks: what is shown is what is trained, piece by piece, for every kind of row."""

import pytest

from tests.modeling.chat_cases import TEMPLATES, make_chat
from tuneward.domain.record import Message, Record, Source
from tuneward.modeling.masks import pieces_of

TALK = (Message("user", "q"), Message("assistant", "a"), Message("user", "r"), Message("assistant", "better"))


def record(messages=TALK, **more):
    return Record("rec_1", messages, Source("f", "0", 1), None, "train", **more)


@pytest.fixture(params=TEMPLATES)
def chat(request, tmp_path):
    return make_chat(tmp_path / "base", request.param)


def said(pieces, **wanted):
    return "".join(p.text for p in pieces if all(getattr(p, name) == value for name, value in wanted.items()))


def test_a_conversation_is_told_apart_as_its_labels_say(chat):
    example = chat.example(TALK)
    pieces = pieces_of(chat, record(), loss_on="answers")
    assert sum(p.tokens for p in pieces) == len(example.ids)
    assert sum(p.tokens for p in pieces if p.learned) == len(example.ids) - example.labels.count(-100)
    assert said(pieces, learned=True, control=False).replace(" ", "") in ("abetter", "a<think>\n\n</think>\n\nbetter")
    assert said(pieces) == chat.decode(example.ids, control=True)
    assert all(p.learned for p in pieces_of(chat, record(), loss_on="all"))


def test_a_pair_shows_its_prompt_once_and_both_answers(chat):
    pieces = pieces_of(chat, record(rejected=Message("assistant", "worse")), loss_on="answers")
    assert [p.learned for p in pieces] == [p.branch != "" for p in pieces]
    assert said(pieces, branch="chosen", control=False).strip() == "better"
    assert said(pieces, branch="rejected", control=False).strip() == "worse"
    assert said(pieces, branch="") == chat.decode(chat.prompt_ids(TALK[:3]), control=True)


def test_of_a_judged_row_the_last_answer_alone_is_learned(chat):
    pieces = pieces_of(chat, record(desirable=False), loss_on="all")
    assert said(pieces, learned=True, control=False).strip() == "better"


def test_a_document_is_learned_whole(chat):
    pieces = pieces_of(chat, record((Message("document", "text\n\nmore"),)), loss_on="answers")
    assert all(p.learned for p in pieces)
    assert said(pieces, control=False) == "text\n\nmore"
