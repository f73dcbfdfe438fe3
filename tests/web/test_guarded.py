"""A guarded gateway as clients see it: what the engine reads, what leaves, and what the log holds of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import openai
import pytest

from tests.serving.fake_engine import FakeEngine, Running
from tests.serving.served_site import ServedSite
from tests.web.conftest import Door
from tuneward.digests import keyed_digest
from tuneward.domain.record import Message
from tuneward.inspection.inspector import Inspector
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.config import GuardConfig, ServingConfig
from tuneward.serving.foundation import Foundation
from tuneward.serving.guard import make_guard
from tuneward.serving.router import Engine, Router
from tuneward.web.app import create_app
from tuneward.workflows.answer import Desk, prompt_bytes

EMAIL, KEY = "eve.moneypenny@example.org", "AK" + "IAABCDEFGHIJKLMNOP"


class Broken(Inspector):
    def inspect(self, text):
        raise RuntimeError("a detector of ours is wrong")


@contextmanager
def guarded(served, *, inspector=Inspector, **actions) -> Iterator[Door]:
    root = served.office.site.artifacts.folder / "trees"
    fake = FakeEngine(name="base", key="k", adapters_root=root)
    with Running(fake.app) as engine, EngineClient(engine.url, "k") as client:
        router = Router(served.office.site, check=lambda deployment: [])
        router.start({Foundation(served.base): Engine(client, AsyncEngineClient(engine.url, "k"), "fp32")})
        guard = make_guard(GuardConfig(**actions), inspector)
        desk = Desk(served.office, router=router, config=ServingConfig(), guard=guard)
        with Running(create_app(desk)) as web:
            door = Door(served, fake, desk, web.url)
            door.forget()
            yield door


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = ServedSite.make(tmp_path_factory.mktemp("site"))
    made.deploy("plain")
    made.deploy("told", system=f"Answer as {EMAIL} would.")
    return made


def ask(door, text, **more):
    with httpx.Client(trust_env=False) as plain:
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key=door.served.key, http_client=plain, max_retries=0)
        return client.chat.completions.create(
            **{"model": "plain", "messages": [{"role": "user", "content": text}], **more}
        )


def streamed(door, text) -> list[dict]:
    body = {"model": "plain", "messages": [{"role": "user", "content": text}], "stream": True}
    response = httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=door.auth, trust_env=False)
    events = [line[6:] for line in response.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event)["choices"][0] for event in events]


def words_of(choices) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_a_blocked_prompt_is_refused_and_never_reaches_the_engine(served):
    with guarded(served, prompts={"email": "block", "api_key": "block"}) as door:
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError) as caught:
                ask(door, f"write to {EMAIL} with {KEY}", stream=stream)
            assert (caught.value.code, caught.value.param) == ("content_filter", "messages")
            assert "api_key, email" in caught.value.message
            assert EMAIL not in caught.value.message
        assert door.fake.bodies == []
        for event in door.events():
            assert (event.action, event.decision) == ("answer.start", "refused")
            assert event.detail == {"faults": ["TW-SERV-056"], "guard": {"block": {"api_key": 1, "email": 1}}}
        assert len(door.events()) == 2
        assert ask(door, "nothing of that").choices[0].message.content
    written = served.everything_written()
    assert EMAIL.encode() not in written.replace(f"Answer as {EMAIL} would.".encode(), b"")
    assert KEY.encode() not in written


def test_a_redacted_prompt_is_what_the_engine_reads_and_the_log_digests(served):
    with guarded(served, prompts={"email": "redact", "phone": "tag"}) as door:
        ask(door, f"write to {EMAIL} or +44 7700 900123", model="told")
        (system, user) = door.fake.bodies[0]["messages"]
        assert user["content"] == "write to [EMAIL] or +44 7700 900123"
        assert EMAIL in system["content"], "the deployment's own words are not looked at"
        (start, finish) = door.events()
        assert start.detail["guard"] == {"redact": {"email": 1}, "tag": {"phone": 1}}
        assert "guard" not in finish.detail
        read = prompt_bytes((Message("system", system["content"]), Message("user", user["content"])))
        assert start.detail["prompt"] == keyed_digest(served.office.keys.secret("answers"), read)


def test_an_answer_is_redacted_streamed_or_not_and_tells_no_log_probabilities(served):
    with guarded(served, answers={"email": "redact"}) as door:
        whole = ask(door, f"write to {EMAIL} today", logprobs=True).choices[0]
        assert whole.message.content.endswith(" write to [EMAIL] today")
        assert (whole.finish_reason, whole.logprobs) == ("stop", None)
        choices = streamed(door, f"write to {EMAIL} today")
        assert words_of(choices).endswith(" write to [EMAIL] today")
        assert choices[-1]["finish_reason"] == "stop"
        for finish in door.events("answer.finish"):
            assert finish.detail["guard"] == {"redact": {"email": 1}}
            left = whole.message.content.encode()
            assert finish.detail["answer"] == keyed_digest(served.office.keys.secret("answers"), left)


def test_an_answer_without_findings_leaves_as_it_came(served):
    with guarded(served, answers={"*": "block"}) as door:
        answer = ask(door, "one two", logprobs=True).choices[0]
        assert answer.message.content.endswith(" one two")
        assert answer.logprobs is not None
        assert words_of(streamed(door, "one two")).endswith(" one two")


def test_a_blocked_answer_is_empty_and_says_why(served):
    with guarded(served, answers={"api_key": "block"}) as door:
        answer = ask(door, f"key {KEY}")
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("", "content_filter")
        choices = streamed(door, f"key {KEY}")
        assert words_of(choices) == ""
        assert choices[-1]["finish_reason"] == "content_filter"
        for finish in door.events("answer.finish"):
            assert finish.detail["finish_reason"] == "content_filter"
            assert finish.detail["guard"] == {"block": {"api_key": 1}}
    assert KEY.encode() not in served.everything_written()


@pytest.mark.parametrize("side", ["prompts", "answers"])
def test_a_guard_that_fails_lets_nothing_through(served, side):
    with guarded(served, inspector=Broken, **{side: {"email": "tag"}}) as door:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(door, "one two")
        assert "two" not in caught.value.message
        assert side == "answers" or door.fake.bodies == []


def test_an_engine_that_breaks_off_leaves_nothing_of_a_guarded_answer(served):
    with guarded(served, answers={"email": "redact"}) as door:
        with pytest.raises(openai.APIStatusError):
            ask(door, "break one two three")
        (finish,) = door.events("answer.finish")
        assert finish.detail["answer"] == keyed_digest(served.office.keys.secret("answers"), b"")
