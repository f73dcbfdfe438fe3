import asyncio

import pytest

from tests.serving.fake_engine import FakeEngine, Running
from tuneward.domain.record import Message
from tuneward.errors import ServingError
from tuneward.serving.client import AsyncEngineClient, EngineClient
from tuneward.serving.wire import EventReader, read_json, read_piece


@pytest.fixture
def fake(tmp_path):
    return FakeEngine(name="base", key="secret", adapters_root=tmp_path)


@pytest.fixture
def url(fake):
    with Running(fake.app) as running:
        yield running.url


@pytest.fixture
def client(url):
    with EngineClient(url, "secret", concurrency=8) as client:
        yield client


def user(text: str) -> list[Message]:
    return [Message("user", text)]


class Told:
    def __init__(self) -> None:
        self.total, self.done, self.ended = 0, 0, False

    def begin(self, title, *, total=None, unit=""):
        self.total = total

    def advance(self, amount=1, **figures):
        self.done += amount

    def say(self, text): ...

    def end(self):
        self.ended = True


def test_one_answer(client, fake):
    answer = client.chat("base", user("one two"), max_tokens=10)
    assert (answer.text, answer.finish_reason) == ("base one two", "stop")
    assert (answer.prompt_tokens, answer.answer_tokens) == (2, 3)
    assert answer.seconds > 0
    assert fake.bodies[0]["temperature"] == 0.0


def test_many_answers_keep_their_order_and_run_together(client, fake):
    told = Told()
    prompts = [user(f"item {i}") for i in range(40)]
    answers = client.answers("base", prompts, max_tokens=10, progress=told)
    assert [a.text for a in answers] == [f"base item {i}" for i in range(40)]
    assert 1 < fake.most_at_once <= 8
    assert (told.total, told.done, told.ended) == (40, 40, True)


def test_no_prompts_no_answers(client):
    assert client.answers("base", [], max_tokens=1) == []


def test_faults_of_single_items_are_raised_together(client):
    prompts = [user(t) for t in ("fine", "too long", "fine", "long again")]
    with pytest.raises(ServingError) as caught:
        client.answers("base", prompts, max_tokens=10)
    assert [(f.code, f.place) for f in caught.value.faults] == [("TW-SERV-036", "item 1"), ("TW-SERV-036", "item 3")]
    assert "again" not in str(caught.value)


def test_adapters_load_and_unload(client, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "adapter_config.json").write_text("{}")
    client.load_adapter("adapter-1", tmp_path / "a")
    assert client.models() == ["base", "adapter-1"]
    client.unload_adapter("adapter-1")
    assert client.models() == ["base"]
    with pytest.raises(ServingError, match="TW-SERV-037"):
        client.unload_adapter("adapter-1")
    with pytest.raises(ServingError, match="no adapter there"):
        client.load_adapter("adapter-1", tmp_path / "b")


def test_wrong_key_and_no_engine_are_faults(url):
    with EngineClient(url, "wrong") as client, pytest.raises(ServingError, match="TW-SERV-041"):
        client.models()
    with EngineClient("http://127.0.0.1:9", "k") as client:
        assert not client.health()
        with pytest.raises(ServingError, match="ConnectError"):
            client.models()


def test_proxies_of_the_environment_are_ignored(url, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with EngineClient(url, "secret") as client:
        assert client.health()


def test_logprobs_are_named_by_bytes(client):
    listed = client.logprobs("base", user("x"), top=5)
    assert len(listed) == 5
    assert listed[0][0] == b"t0".hex()
    assert listed[0][1] > listed[4][1]


async def collect(url, prompt, options):
    client = AsyncEngineClient(url, "secret")
    try:
        return [piece async for piece in client.stream("base", prompt, options)]
    finally:
        await client.close()


@pytest.mark.parametrize("prompt", ["a \u2028 b", user("a \u2028 b")])
def test_streams_of_both_routes(url, prompt):
    pieces = asyncio.run(collect(url, prompt, {"max_tokens": 9}))
    assert "".join(p.text for p in pieces) == "base a b"
    assert [p.finish_reason for p in pieces if p.finish_reason] == ["stop"]
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.answer_tokens == 3


@pytest.mark.parametrize(
    ("text", "code"), [("a b break", "034"), ("a b vanish", "034"), ("long", "036")], ids=["error", "cut", "refused"]
)
def test_streams_that_fail(url, text, code):
    with pytest.raises(ServingError, match=f"TW-SERV-{code}"):
        asyncio.run(collect(url, user(text), {"max_tokens": 9}))


def test_closing_a_stream_cancels_the_engine(url, fake):
    async def leave():
        client = AsyncEngineClient(url, "secret")
        stream = client.stream("base", user("slow " + "word " * 500), {"max_tokens": 500})
        seen = 0
        async for piece in stream:
            seen += bool(piece.text)
            if seen == 3:
                break
        await stream.aclose()
        await client.close()
        for _ in range(200):
            if fake.cancelled:
                break
            await asyncio.sleep(0.02)

    asyncio.run(leave())
    assert fake.cancelled == 1


def test_events_do_not_depend_on_the_chunking():
    data = 'data: {"a": "é\u2028x"}\n\n: comment\n\ndata: two\r\n\ndata: [DONE]\n\n'.encode()
    whole = EventReader().feed(data)
    assert whole == ['{"a": "é\u2028x"}', "two", "[DONE]"]
    for size in range(1, 12):
        reader = EventReader()
        assert [e for i in range(0, len(data), size) for e in reader.feed(data[i : i + size])] == whole


@pytest.mark.parametrize("value", [None, [], {}, {"choices": [{}]}, {"choices": 3}, "x", {"choices": [], "usage": {}}])
def test_strange_chunks_are_refused_or_empty(value):
    if value == {"choices": [], "usage": {}}:
        assert read_piece(value).usage is None
        return
    if value == {"choices": [{}]}:
        assert read_piece(value).text == ""
        return
    with pytest.raises(ServingError, match="TW-SERV-034"):
        read_piece(value)


def test_json_that_goes_too_deep_is_no_json():
    assert read_json(b"[" * 100_000) is None
