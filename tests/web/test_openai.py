"""The gateway as the official client sees it."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import httpx
import openai
import pytest

from tuneward.digests import keyed_digest
from tuneward.domain.record import Message
from tuneward.errors import Fault, ProofError, StorageError
from tuneward.governance import api_keys, audit
from tuneward.web.errors import http_error
from tuneward.workflows import answer as answer_workflow
from tuneward.workflows.answer import Piece, prompt_bytes

SECRET_WORDS = "Zebedee Quarterstaff"


@pytest.fixture
def client(door):
    with httpx.Client(trust_env=False) as plain:
        yield openai.OpenAI(base_url=f"{door.url}/v1", api_key=door.served.key, http_client=plain)


def say(text: str) -> list:
    return [{"role": "user", "content": text}]


def raw(door, body, path="/v1/chat/completions", headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(door.url + path, content=data, headers=headers or door.auth, trust_env=False, timeout=20)


def wait_for(what, seconds=10.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def test_models(door, client):
    assert [m.id for m in client.models.list()] == ["claims", "plain"]
    assert client.models.list().data[0].created > 1_700_000_000


def test_chat(door, client):
    answer = client.chat.completions.create(model="plain", messages=say("one two"))
    choice = answer.choices[0]
    assert choice.message.content == "adapter-" + door.fake.bodies[0]["model"][8:12] + " one two"
    assert (choice.message.role, choice.finish_reason, answer.model) == ("assistant", "stop", "plain")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 3, 5)
    assert answer.object == "chat.completion"


def test_stream_has_openais_exact_shape(door, client):
    body = {"model": "plain", "messages": say("one two"), "stream": True, "stream_options": {"include_usage": True}}
    response = raw(door, body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(e) for e in events[:-1]]
    assert {(c["id"], c["created"], c["model"], c["object"]) for c in chunks} == {
        (chunks[0]["id"], chunks[0]["created"], "plain", "chat.completion.chunk")
    }
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in c["choices"][0]["delta"] for c in chunks[1:-1])
    assert chunks[-2]["choices"][0]["delta"] == {}
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 3


def test_stream_without_usage_has_no_chunk_without_choices(door, client):
    stream = client.chat.completions.create(model="plain", messages=say("one two"), stream=True)
    chunks = list(stream)
    assert all(chunk.choices for chunk in chunks)
    assert "".join(c.choices[0].delta.content or "" for c in chunks).endswith(" one two")
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_streamed_and_whole_say_the_same(door, client):
    whole = client.chat.completions.create(model="claims", messages=say("é ü \u2028 end"))
    stream = client.chat.completions.create(model="claims", messages=say("é ü \u2028 end"), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == whole.choices[0].message.content


def test_completions(door, client):
    answer = client.completions.create(model="plain", prompt="one two", logprobs=2)
    assert answer.choices[0].text.endswith(" one two")
    assert answer.id.startswith("cmpl-evt_")
    pieces = list(client.completions.create(model="plain", prompt=["one two"], stream=True))
    assert "".join(p.choices[0].text for p in pieces) == answer.choices[0].text
    assert "messages" not in door.fake.bodies[0]
    assert door.fake.bodies[0]["prompt"] == door.fake.bodies[1]["prompt"] == "one two"


def test_options_reach_the_engine_and_defaults_are_the_evaluated_ones(door, client):
    client.chat.completions.create(model="plain", messages=say("x"))
    sent = door.fake.bodies[-1]
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 600)
    assert not {"top_p", "seed", "stop", "logprobs", "user", "n"} & sent.keys()
    client.chat.completions.create(
        model="plain",
        messages=say("x"),
        temperature=0.7,
        top_p=0.9,
        seed=3,
        stop="END",
        max_completion_tokens=7,
        user="somebody",
        n=1,
        response_format={"type": "text"},
        presence_penalty=0,
    )
    sent = door.fake.bodies[-1]
    assert {k: sent[k] for k in ("temperature", "top_p", "seed", "stop", "max_tokens")} == {
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 3,
        "stop": ["END"],
        "max_tokens": 7,
    }
    assert "user" not in sent


def test_logprobs_of_whole_and_streamed_answers(door, client):
    asked = {"model": "plain", "messages": say("one two"), "logprobs": True, "top_logprobs": 3}
    whole = client.chat.completions.create(**asked).choices[0].logprobs.content
    assert [len(t.top_logprobs) for t in whole] == [3, 3, 3]
    streamed = [
        t
        for c in client.chat.completions.create(**asked, stream=True)
        if c.choices[0].logprobs
        for t in c.choices[0].logprobs.content
    ]
    assert [t.token for t in streamed] == [t.token for t in whole]


def test_the_deployments_system_message_is_used_where_the_client_sends_none(door, client):
    client.chat.completions.create(model="claims", messages=say("x"))
    assert door.fake.bodies[-1]["messages"][0] == {"role": "system", "content": "You write records."}
    parts = [{"type": "text", "text": "Own "}, {"type": "text", "text": "words"}]
    client.chat.completions.create(model="claims", messages=[{"role": "developer", "content": parts}, *say("x")])
    assert door.fake.bodies[-1]["messages"] == [{"role": "system", "content": "Own words"}, *say("x")]
    client.chat.completions.create(model="plain", messages=say("x"))
    assert door.fake.bodies[-1]["messages"] == say("x")


def test_an_answer_can_be_sent_back_as_a_turn(door, client):
    message = client.chat.completions.create(model="plain", messages=say("x")).choices[0].message
    client.chat.completions.create(model="plain", messages=[*say("x"), message.model_dump(), *say("y")])
    assert [m["role"] for m in door.fake.bodies[-1]["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("key", ["wrong", "tuneward-" + "A" * 43])
def test_a_wrong_key(door, key):
    with httpx.Client(trust_env=False) as plain:
        client = openai.OpenAI(base_url=f"{door.url}/v1", api_key=key, http_client=plain)
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="plain", messages=say("x"))
    assert caught.value.code == "invalid_api_key"
    assert key not in str(caught.value)


def test_no_key_a_revoked_key_and_other_schemes(door):
    body = {"model": "plain", "messages": say("x")}
    text, key = api_keys.create(door.served.office, "short-lived", "ada")
    assert raw(door, body, headers={"authorization": f"bearer {text}"}).status_code == 200
    api_keys.revoke(door.served.office, key.id)
    for headers in ({"authorization": f"Bearer {text}"}, {"x": "y"}, {"authorization": f"Basic {door.served.key}"}):
        response = raw(door, body, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["type"] == "authentication_error"
    assert len(door.fake.bodies) == 1
    assert httpx.get(f"{door.url}/v1/models", trust_env=False).status_code == 401


def test_an_unknown_model(door, client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-6", messages=say("x"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):  # the engine's own names are no models of ours
        client.chat.completions.create(model="base", messages=say("x"))
    assert door.fake.bodies == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("n", 2),
        ("logit_bias", {"1": 5}),
        ("presence_penalty", 0.5),
        ("modalities", ["audio"]),
        ("store", True),
        ("best_of", 2),
        ("echo", True),
        ("no_such_field", 1),
    ],
)
def test_fields_that_are_refused_by_name(door, client, field, value):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="plain", messages=say("x"), extra_body={field: value})
    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert door.fake.bodies == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 601}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": 3}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"chunks": 1}}, "stream_options.chunks"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
    ],
)
def test_wrong_values_are_named(door, change, param):
    response = raw(door, {"model": "plain", "messages": say(SECRET_WORDS)} | change)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"].startswith(param)
    assert error["type"] == "invalid_request_error"
    assert SECRET_WORDS not in response.text
    assert door.fake.bodies == []


def test_all_faults_of_a_request_come_together(door):
    response = raw(door, {"messages": [{"role": "x", "content": 3}], "tools": [1], "temperature": -1})
    message = response.json()["error"]["message"]
    for field in ("model", "messages[0].role", "tools", "temperature"):
        assert field in message


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"{}{}", b'{"model": NaN}', b"[" * 10_000, b'{"a": "\\ud800"}'],
)
def test_bodies_that_are_no_json_object(door, body):
    for path in ("/v1/chat/completions", "/v1/completions"):
        response = raw(door, body, path)
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "TW-SERV-043"


def test_large_bodies_are_refused_announced_or_not(door):
    response = raw(door, {"model": "plain", "messages": say("x" * 30_000)})
    assert response.status_code == 413
    assert response.headers["x-request-id"].startswith("req_")

    def pieces():
        for _ in range(30):
            yield b"x" * 1000

    response = httpx.post(
        f"{door.url}/v1/chat/completions", content=pieces(), headers=door.auth, trust_env=False, timeout=20
    )
    assert response.status_code == 413
    assert door.fake.bodies == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/redoc"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/chat/completions/"),
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/models/../../etc/passwd"),
    ],
)
def test_everything_else_is_404_in_openais_shape(door, method, path):
    response = httpx.request(method, door.url + path, headers=door.auth, trust_env=False)
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-should-retry"] == "false"


def test_headers_name_request_version_and_adapter(door):
    body = {"model": "plain", "messages": say("x")}
    first, second = raw(door, body), raw(door, body | {"stream": True})
    deployment = door.desk._router.active()[1]
    for response in (first, second):
        assert response.headers["x-tuneward-version"] == deployment.version
        assert response.headers["x-tuneward-digest"] == door.served.adapter_of(deployment)
        assert response.headers["cache-control"] == "no-store"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert second.headers["x-accel-buffering"] == "no"


def test_every_answer_leaves_a_start_and_a_finish_without_content(door, client):
    answer = client.chat.completions.create(model="claims", messages=say(SECRET_WORDS), user=SECRET_WORDS, stop="Quax")
    list(client.chat.completions.create(model="claims", messages=say(SECRET_WORDS), stream=True))
    start, finish, *rest = door.events("answer.start", "answer.finish")
    assert [e.action for e in rest] == ["answer.start", "answer.finish"]
    assert answer.id == f"chatcmpl-{start.id}"
    deployment = door.desk._router.active()[0]
    assert start.actor == finish.actor == f"key:{door.served.key_id}"
    assert (start.subject, start.detail["version"]) == (deployment.id, deployment.version)
    assert (start.detail["adapter"], start.detail["base"]) == (door.served.adapter_of(deployment), door.served.base)
    secret = door.served.office.keys.secret("answers")
    sent = (Message("system", "You write records."), Message("user", SECRET_WORDS))
    assert start.detail["prompt"] == keyed_digest(secret, prompt_bytes(sent))
    assert finish.subject == start.id
    assert finish.detail["answer"] == keyed_digest(secret, answer.choices[0].message.content.encode())
    assert (finish.detail["prompt_tokens"], finish.detail["answer_tokens"]) == (2, 3)
    assert (finish.detail["finish_reason"], finish.decision) == ("stop", "done")
    written = door.served.everything_written()
    for word in ("Zebedee", "Quarterstaff", "Quax", door.served.key):
        assert word.encode() not in written
    assert start.id.encode() in written  # the search does find what is there


def test_the_start_is_on_disk_before_the_engine_is_asked_and_the_finish_before_the_last_chunk(door, monkeypatch):
    seen = []
    (engine,) = {id(r.engine): r.engine for r in door.desk._router._routes.values()}.values()
    original = engine.answer.stream

    async def noted(*args, **kwargs):
        seen.append([e.action for e in door.events()])
        async for piece in original(*args, **kwargs):
            yield piece

    monkeypatch.setattr(engine.answer, "stream", noted)
    body = {"model": "plain", "messages": say("slow a b"), "stream": True}
    with httpx.stream(
        "POST", f"{door.url}/v1/chat/completions", json=body, headers=door.auth, trust_env=False
    ) as response:
        for line in response.iter_lines():
            if '"finish_reason":"stop"' in line:
                seen.append([e.action for e in door.events()])
    assert seen == [["answer.start"], ["answer.start", "answer.finish"]]


@pytest.mark.parametrize("stream", [True, False])
def test_without_a_log_there_is_no_answer(door, client, monkeypatch, stream):
    def full(*args, **kwargs):
        raise StorageError(Fault("TW-STOR-007", "the disk is full"))

    monkeypatch.setattr(answer_workflow, "change", full)
    response = raw(door, {"model": "plain", "messages": say("x"), "stream": stream})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "TW-SERV-048")
    assert door.fake.bodies == []


def test_a_finish_that_cannot_be_logged_withholds_the_end(door, client, monkeypatch):
    append = audit.append

    def full_at_the_end(*args, action, **rest):
        if action == "answer.finish":
            raise OSError("no space")
        return append(*args, action=action, **rest)

    monkeypatch.setattr(audit, "append", full_at_the_end)
    response = raw(door, {"model": "plain", "messages": say("x")})
    assert response.status_code == 503
    assert "adapter-" not in response.text
    response = raw(door, {"model": "plain", "messages": say("x"), "stream": True})
    assert "[DONE]" not in response.text
    assert '"finish_reason":"stop"' not in response.text
    assert json.loads(response.text.strip().split("\n\n")[-1][6:])["error"]["code"] == "TW-SERV-048"


def test_a_policy_that_gives_callers_nothing(door, client, monkeypatch):
    office = door.desk.office
    policy = replace(office.policy, may={**office.policy.may, "answer.start": ("owner",)})
    monkeypatch.setattr(door.desk, "office", replace(office, policy=policy))
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="plain", messages=say("x"))
    assert [(e.action, e.decision) for e in door.events()] == [("answer.start", "refused")]
    assert door.fake.bodies == []


def test_what_is_wrong_with_the_site_is_for_the_log_and_not_for_the_client(door, client, caplog):
    place = str(door.served.office.site.folder)
    error = http_error(ProofError(Fault("TW-SERV-037", "file changed", place, f"mend {place}")))
    assert (error.status, error.code) == (503, "TW-SERV-037")
    assert place not in error.message
    assert place in caplog.text


def test_a_body_that_does_not_arrive(door, monkeypatch):
    monkeypatch.setattr("tuneward.web.openai._BODY_SECONDS", 0.2)
    with socket.create_connection(door.url.removeprefix("http://").split(":"), timeout=10) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: {door.auth['authorization']}\r\n"
        connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
        assert b"408" in connection.recv(10_000).split(b"\r\n")[0]


def test_a_prompt_over_the_context(door, client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="plain", messages=say("long"))
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError):  # as a status, since nothing has been streamed yet
        client.chat.completions.create(model="plain", messages=say("long"), stream=True)
    finish = door.events("answer.finish")
    assert [(e.decision, e.detail["faults"]) for e in finish] == [("refused", ["TW-SERV-036"])] * 2


def test_the_gateways_own_limit_gives_way_to_the_context_but_the_clients_does_not(door, client):
    answer = client.chat.completions.create(model="plain", messages=say("tight a b c d"))
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 3)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="plain", messages=say("tight a b c d"), max_tokens=200)
    assert [e.detail["finish_reason"] for e in door.events("answer.finish")] == ["length", "error"]


@pytest.mark.parametrize("how", ["break", "vanish"])
def test_an_engine_that_breaks_off(door, client, how):
    quick = client.with_options(max_retries=0)
    with pytest.raises(openai.InternalServerError):
        quick.chat.completions.create(model="plain", messages=say(f"a {how}"))
    got = []
    stream = quick.chat.completions.create(model="plain", messages=say(f"a {how}"), stream=True)
    with pytest.raises(openai.APIError):
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(got).endswith(" a")
    assert [e.detail["finish_reason"] for e in door.events("answer.finish")] == ["error", "error"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_the_engine_and_is_logged(door, client, stream):
    body = {"model": "plain", "messages": say("slow " + "word " * 500), "stream": stream}
    if stream:
        answer = client.chat.completions.create(**body)
        next(iter(answer))
        answer.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.5, max_retries=0).chat.completions.create(**body)
    wait_for(lambda: door.fake.cancelled == 1)
    finish = wait_for(lambda: door.events("answer.finish"))[0]
    assert finish.detail["finish_reason"] == "cancelled"
    wait_for(lambda: door.desk._router._under_way.total() == 0)


def test_many_at_once_are_all_logged_without_a_gap(door, client):
    def ask(i):
        return client.chat.completions.create(model="plain", messages=say(f"item {i}")).choices[0].message.content

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(ask, range(48)))
    assert [t.split(" ", 1)[1] for t in texts] == [f"item {i}" for i in range(48)]
    events = door.served.events()
    assert [e.seq for e in events] == list(range(len(events)))
    starts = {e.id for e in door.events("answer.start")}
    assert {e.subject for e in door.events("answer.finish")} == starts
    assert len(starts) == 48


def test_an_answer_that_takes_too_long(door, monkeypatch):
    monkeypatch.setattr(door.desk, "config", door.desk.config.model_copy(update={"request_timeout_seconds": 0.5}))
    response = raw(door, {"model": "plain", "messages": say("hang")})
    assert (response.status_code, response.headers["x-should-retry"]) == (504, "false")
    response = raw(door, {"model": "plain", "messages": say("slow " + "word " * 500), "stream": True})
    assert json.loads(response.text.strip().split("\n\n")[-1][6:])["error"]["code"] == "TW-SERV-049"
    assert [e.detail["finish_reason"] for e in door.events("answer.finish")] == ["timeout", "timeout"]
    wait_for(lambda: door.fake.cancelled == 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_defect_of_ours_is_logged_as_an_error_and_not_as_a_client_that_left(door, monkeypatch, stream):
    async def broken(*_):
        yield Piece("first")
        raise RuntimeError("the prompt was: secret")

    monkeypatch.setattr("tuneward.workflows.answer._stream", broken)
    body = {"model": "claims", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    with suppress(httpx.RemoteProtocolError):  # a stream that had begun breaks off
        answered = httpx.post(f"{door.url}/v1/chat/completions", json=body, headers=door.auth, trust_env=False)
        assert "secret" not in answered.text
    (finished,) = door.events("answer.finish")
    assert (finished.decision, finished.detail["finish_reason"]) == ("refused", "error")
    assert finished.detail["faults"] == ["TW-ENV-002"]
