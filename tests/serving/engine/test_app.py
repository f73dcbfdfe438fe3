import asyncio
import contextlib
import json

import pytest
from fastapi.testclient import TestClient

from tests.serving.engine.test_scheduler import expected
from tuneward.digests import digest_bytes
from tuneward.domain.record import Message
from tuneward.modeling.adapter_files import save_adapter
from tuneward.serving.engine.app import Engine, build_app

KEY = "correct-horse-battery"
SAID = [{"role": "user", "content": "the end of the road"}]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "trees"


@pytest.fixture
def client(start, chat, root):
    app = build_app(Engine("tiny", "fp32", chat, start(), KEY, root))
    return TestClient(app, headers={"authorization": f"Bearer {KEY}"}, raise_server_exceptions=False)


@pytest.fixture
def answer(model, chat):
    prompt = chat.prompt_ids([Message("user", SAID[0]["content"])])
    return expected(model, chat, prompt), len(prompt)


def ask(client, **fields):
    return client.post(
        "/v1/chat/completions", json={"model": "tiny", "messages": SAID, "temperature": 0, "max_tokens": 20, **fields}
    )


def chunks(response):
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def put_adapter(root, weights):
    folder = root / digest_bytes(repr(weights.alpha).encode() + next(iter(weights.pairs.values()))[0].numpy().tobytes())
    save_adapter(weights, folder, base_name="tiny")
    return folder


def test_a_chat_answer_has_openais_shape(client, answer):
    text, prompt_tokens = answer
    body = ask(client).json()
    assert set(body) == {"id", "object", "created", "model", "choices", "usage"}
    assert (body["object"], body["model"]) == ("chat.completion", "tiny")
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": text, "refusal": None}
    assert choice["finish_reason"] in ("stop", "length")
    counted = body["usage"]
    assert counted["prompt_tokens"] == prompt_tokens
    assert counted["total_tokens"] == prompt_tokens + counted["completion_tokens"]


def test_streamed_pieces_joined_are_the_whole_answer(client, answer):
    found = chunks(ask(client, stream=True))
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in found) == answer[0]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in found]
    assert reasons[:-1] == [None] * (len(found) - 1)
    assert reasons[-1] == ask(client).json()["choices"][0]["finish_reason"]
    assert all("usage" not in chunk for chunk in found)


def test_usage_comes_last_when_asked_for(client):
    found = chunks(ask(client, stream=True, stream_options={"include_usage": True}))
    assert found[-1]["choices"] == []
    assert found[-1]["usage"] == ask(client).json()["usage"]
    assert all(chunk["usage"] is None for chunk in found[:-1])


def test_content_may_come_in_parts_and_developer_means_system(client):
    parts = [{"type": "text", "text": "the end of "}, {"type": "text", "text": "the road"}]
    assert ask(client, messages=[{"role": "user", "content": parts}]).json()["choices"] == ask(client).json()["choices"]
    texts = [
        ask(client, messages=[{"role": role, "content": "short"}, *SAID]).json()["choices"][0]["message"]["content"]
        for role in ("system", "developer")
    ]
    assert texts[0] == texts[1]


def test_log_probabilities_belong_to_the_tokens(client):
    body = ask(client, logprobs=True, top_logprobs=3, max_tokens=4).json()
    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == 4
    for token in content:
        assert [other["logprob"] for other in token["top_logprobs"]] == sorted(
            (other["logprob"] for other in token["top_logprobs"]), reverse=True
        )
        assert token["top_logprobs"][0]["token_id"] == token["token_id"]
    pieces = chunks(ask(client, logprobs=True, top_logprobs=3, max_tokens=4, stream=True))
    streamed = [t for chunk in pieces if (found := chunk["choices"][0]["logprobs"]) for t in found["content"]]
    assert [t["token_id"] for t in streamed] == [t["token_id"] for t in content]


def test_a_completion_has_its_own_shape(client, model, chat):
    settings = {"model": "tiny", "prompt": "the road", "temperature": 0, "max_tokens": 8, "logprobs": 2}
    body = client.post("/v1/completions", json=settings).json()
    assert body["object"] == "text_completion"
    (choice,) = body["choices"]
    assert choice["text"] == expected(model, chat, chat.text_ids("the road"), 8)
    logprobs = choice["logprobs"]
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == len(logprobs["text_offset"])
    found = chunks(client.post("/v1/completions", json={**settings, "stream": True}))
    assert "".join(chunk["choices"][0]["text"] for chunk in found) == choice["text"]
    default = client.post("/v1/completions", json={"model": "tiny", "prompt": ["a"], "temperature": 0}).json()
    assert default["usage"]["completion_tokens"] <= 16


def test_a_seed_repeats_an_answer(client):
    texts = [ask(client, temperature=1.5, seed=5).json()["choices"][0]["message"]["content"] for _ in range(2)]
    other = ask(client, temperature=1.5, seed=6).json()["choices"][0]["message"]["content"]
    assert texts[0] == texts[1] != other


@pytest.mark.parametrize("given", [None, "Bearer wrong-horse-battery", KEY, "Basic x", "Bearer "])
@pytest.mark.parametrize("route", ["/health", "/v1/models", "/v1/chat/completions", "/nowhere"])
def test_without_the_key_nothing_answers(client, given, route):
    client.headers.pop("authorization")
    response = client.get(route, headers={"authorization": given} if given else {})
    assert response.status_code == 401
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_api_key"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"n": 2}, ["n"]),
        ({"tools": [{"type": "function"}], "temprature": 1}, ["tools", "temprature"]),
        ({"temperature": 3, "top_p": 0}, ["temperature", "top_p"]),
        ({"frequency_penalty": 0.5}, ["frequency_penalty"]),
        ({"response_format": {"type": "json_object"}}, ["response_format"]),
        ({"top_logprobs": 2}, ["top_logprobs"]),
        ({"logprobs": True, "top_logprobs": 21}, ["top_logprobs"]),
        ({"max_tokens": 3, "max_completion_tokens": 4}, ["max_completion_tokens"]),
        ({"stop": ["a"] * 17}, ["stop"]),
        ({"stop": ""}, ["stop"]),
        ({"messages": []}, ["messages"]),
        ({"messages": [{"role": "tool", "content": "x"}]}, ["messages.0.role"]),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ["messages.0.content"]),
        ({"max_tokens": 0}, ["max_tokens"]),
        ({"stream": "yes"}, ["stream"]),
    ],
)
def test_what_the_engine_cannot_do_is_refused_by_name(client, fields, names):
    response = ask(client, **fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "TW-SERV-004")
    assert all(name in error["message"] for name in names)


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_404_and_a_long_prompt_400(client, stream):
    unknown = ask(client, model="other", stream=stream)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    long = ask(client, messages=[{"role": "user", "content": "x" * 600}], stream=stream)
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    wide = ask(client, max_tokens=510, stream=stream)
    assert (wide.status_code, wide.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_broken_bodies_and_wrong_routes_have_the_same_shape(client):
    for response in (
        client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"}),
        client.get("/v1/chat/completions"),
        client.get("/nowhere"),
    ):
        assert 400 <= response.status_code < 500
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_adapters_load_answer_and_unload(client, root, weights, answer):
    folder = put_adapter(root, weights(1))
    loaded = client.post("/v1/load_lora_adapter", json={"lora_name": "tuned-1", "lora_path": str(folder)})
    assert loaded.status_code == 200
    listed = client.get("/v1/models").json()["data"]
    assert [(entry["id"], entry["parent"]) for entry in listed] == [("tiny", None), ("tuned-1", "tiny")]
    assert ask(client, model="tuned-1").json()["choices"][0]["message"]["content"] != answer[0]
    assert ask(client).json()["choices"][0]["message"]["content"] == answer[0]
    again = client.post("/v1/load_lora_adapter", json={"lora_name": "tuned-1", "lora_path": folder.name})
    assert (again.status_code, again.json()["error"]["code"]) == (400, "TW-SERV-009")
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "tuned-1"}).status_code == 200
    assert ask(client, model="tuned-1").status_code == 404
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "tuned-1"}).status_code == 404


def test_adapters_that_may_not_or_do_not_fit_are_refused(client, root, weights):
    def load(path, name="a"):
        response = client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path)})
        assert response.status_code == 400
        return response.json()["error"]

    root.mkdir()
    assert load("/etc")["code"] == "TW-SERV-008"
    assert load(put_adapter(root, weights(1)), name="tiny")["code"] == "TW-SERV-009"
    assert load("x", name="../x")["code"] == "TW-SERV-004"
    wrong = weights(2)
    for number in (8, 9):
        a, b = next(iter(wrong.pairs.values()))
        wrong.pairs[f"model.layers.{number}.mlp.up_proj"] = (a.clone(), b.clone())
    message = load(put_adapter(root, wrong))["message"]
    assert "layers.8" in message
    assert "layers.9" in message
    torn = put_adapter(root, weights(3))
    (torn / "adapter_model.safetensors").write_bytes(b"\0" * 7)
    assert load(torn)["code"] == "TW-BASE-035"


def test_a_caller_that_hangs_up_before_the_first_token_is_let_go(chat):
    class Silent:
        """A scheduler that never answers."""

        context_tokens, adapters = 512, ()

        def __init__(self):
            self.submitted, self.cancelled = [], []
            self.submit, self.cancel = self.submitted.append, self.cancelled.append

    scheduler, sent = Silent(), []
    app = build_app(Engine("tiny", "fp32", chat, scheduler, KEY, None))
    body = json.dumps({"model": "tiny", "messages": SAID}).encode()
    incoming = iter([{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}])
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")],
    }

    async def receive():
        return next(incoming)

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert scheduler.cancelled == scheduler.submitted != []


def test_a_failing_model_is_a_500_in_the_same_shape(client, model, monkeypatch):
    monkeypatch.setattr(model, "forward", lambda **_: 1 / 0)
    response = ask(client)
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "x-should-retry" not in response.headers


def test_an_answer_ends_when_the_caller_leaves_before_the_first_event(start, chat, root, monkeypatch):
    scheduler = start()
    app = build_app(Engine("tiny", "fp32", chat, scheduler, KEY, root))
    cancelled = []
    monkeypatch.setattr(scheduler, "cancel", cancelled.append)
    body = {"model": "tiny", "messages": SAID, "max_tokens": 5, "stream": True}
    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {KEY}".encode()), (b"content-type", b"application/json")],
    }
    incoming = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive():
        if incoming:
            return incoming.pop()
        await asyncio.sleep(60)

    async def send(message):
        raise OSError("the socket is gone")

    with contextlib.suppress(Exception):
        asyncio.run(app(scope, receive, send))
    assert len(cancelled) == 1
