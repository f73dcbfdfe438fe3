"""The guard by itself: actions by kind, counts without text, and nothing looked at where nothing is asked."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tuneward.domain.record import Message
from tuneward.inspection.inspector import Inspector
from tuneward.serving.config import GuardConfig
from tuneward.serving.guard import Guard, make_guard

EMAIL, IBAN = "eve@example.org", "DE89 3704 0044 0532 0130 00"


def guard(**config) -> Guard:
    return Guard(GuardConfig(**config), Inspector())


def test_each_kind_meets_its_action_and_is_counted():
    subject = guard(prompts={"email": "redact", "iban": "block", "phone": "tag", "person": "allow"})
    text = f"I am Mr. Smith, {EMAIL} and ann@example.org, call +44 7700 900123, pay to {IBAN}"
    passed, seen = subject.prompt(text)
    assert passed == text.replace(EMAIL, "[EMAIL]").replace("ann@example.org", "[EMAIL]")
    assert seen.counts == {"block": {"iban": 1}, "redact": {"email": 2}, "tag": {"phone": 1}}
    assert seen.blocked == ("iban",)


def test_what_is_not_named_is_allowed_unless_the_rest_is_named():
    text = f"{EMAIL} {IBAN}"
    assert guard(answers={"email": "redact"}).answer(text)[0] == f"[EMAIL] {IBAN}"
    assert guard(answers={"email": "allow", "*": "redact"}).answer(text)[0] == f"{EMAIL} [IBAN]"


def test_prompts_and_answers_have_actions_of_their_own():
    subject = guard(prompts={"email": "redact"})
    assert (subject.looks_at_prompts, subject.looks_at_answers) == (True, False)
    assert subject.answer(EMAIL) == (EMAIL, subject.answer("")[1])


def test_every_message_is_looked_at_and_keeps_its_role():
    messages = (Message("system", EMAIL), Message("user", "hi"), Message("assistant", EMAIL), Message("user", EMAIL))
    passed, seen = guard(prompts={"email": "redact"}).prompt(messages)
    assert [(m.role, m.content) for m in passed] == [
        ("system", "[EMAIL]"),
        ("user", "hi"),
        ("assistant", "[EMAIL]"),
        ("user", "[EMAIL]"),
    ]
    assert seen.counts == {"redact": {"email": 3}}


def test_a_value_that_is_known_by_the_word_before_it_is_taken_out_where_it_stands_alone():
    subject = guard(prompts={"password": "redact"}, answers={"password": "redact"})
    text = "password: Tr0ub4dor&3 - then type Tr0ub4dor&3 again"
    wanted = "password: [PASSWORD] - then type [PASSWORD] again"
    passed, seen = subject.answer(text)
    assert passed == subject.prompt(text)[0] == wanted
    assert seen.counts == {"redact": {"password": 2}}
    messages = (Message("user", "password: Tr0ub4dor&3"), Message("assistant", "Is it Tr0ub4dor&3?"))
    passed, seen = subject.prompt(messages)
    assert [m.content for m in passed] == ["password: [PASSWORD]", "Is it [PASSWORD]?"]


@pytest.mark.parametrize("hidden", [base64.b64encode(EMAIL.encode()).decode(), "eve@\u200bexample\u200b.org"])
def test_a_disguise_does_not_help(hidden):
    assert guard(prompts={"email": "block"}).prompt(f"write to {hidden} now")[1].blocked == ("email",)


@given(before=st.text(max_size=30), behind=st.text(max_size=30))
def test_what_is_found_and_redacted_does_not_go_on(before, behind):
    text = f"{before} {IBAN} {behind}"
    found = [f for f in Inspector().inspect(text) if f.kind == "iban"]
    passed, seen = guard(answers={"iban": "redact"}).answer(text)
    assert seen.counts.get("redact", {}).get("iban", 0) == len(found)
    if found:
        assert IBAN not in passed


def test_no_guard_and_no_inspector_where_nothing_is_asked():
    def never() -> Inspector:
        raise AssertionError("made for nothing")

    assert make_guard(GuardConfig(), never) is None
    assert make_guard(GuardConfig(answers={"*": "tag"}), Inspector) is not None


@pytest.mark.parametrize("name", ["emial", "terms:customers"])
def test_a_misspelt_kind_is_refused(name):
    with pytest.raises(ValidationError, match="no such kind of finding"):
        GuardConfig(prompts={name: "block"})
    GuardConfig(prompts={"term:customers": "block", "confidential": "tag", "pattern": "redact"})
