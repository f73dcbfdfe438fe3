import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import openai
import pytest
import torch

from tuneward.domain.record import Message
from tuneward.modeling.base_model import load_base
from tuneward.modeling.chat import Chat
from tuneward.modeling.packed import PackedDocuments

KEY = "correct-horse-battery"


class Started:
    """An engine process over a tiny base, held by its standard input."""

    def __init__(self, base_folder, *options, key=KEY):
        environment = {name: value for name, value in os.environ.items() if name != "TUNEWARD_ENGINE_KEY"}
        if key is not None:
            environment["TUNEWARD_ENGINE_KEY"] = key
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuneward.serving.engine", "--base", str(base_folder), "--name", "tiny", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "OMP_NUM_THREADS": "1"},
            text=True,
        )
        self.first = json.loads(self.process.stdout.readline())

    def client(self, key=KEY):
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.first['port']}/v1", api_key=key, max_retries=0)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def started(base_folder):
    running = []

    def make(*options, **settings):
        running.append(Started(base_folder, *options, **settings))
        return running[-1]

    yield make
    for engine in running:
        engine.close()


def ask(client, **fields):
    said = [{"role": "user", "content": "the road"}]
    return client.chat.completions.create(
        **{"model": "tiny", "messages": said, "max_tokens": 10, "temperature": 0, **fields}
    )


def test_answers_the_official_client_and_ends_when_its_input_closes(started):
    engine = started("--precision", "fp32")
    assert engine.first["event"] == "ready"
    assert engine.first["precision"] == "fp32"
    client = engine.client()
    whole = ask(client).choices[0].message.content
    with ask(client, stream=True) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    with pytest.raises(openai.AuthenticationError):
        ask(engine.client("wrong"))
    with pytest.raises(openai.BadRequestError, match="n: "):
        ask(client, n=2)
    ended = time.monotonic()
    engine.process.stdin.close()
    assert engine.process.wait(10) == 0
    assert time.monotonic() - ended < 2


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs the extra qlora")
@pytest.mark.parametrize("kept", ["nf4", "nf4-all"])
def test_a_base_in_four_bits_gives_other_numbers_and_says_so(started, base_folder, kept):
    engine = started("--precision", "fp32", "--quantisation", kept)
    assert engine.first["quantisation"] == kept
    asked = {"logprobs": True, "top_logprobs": 1, "max_tokens": 1}
    first = ask(engine.client(), **asked).choices[0].logprobs.content[0].top_logprobs[0].logprob
    model, chat = load_base(base_folder, precision="fp32", quantisation=kept), Chat.load(base_folder)
    ids = chat.prompt_ids([Message("user", "the road")])
    layout = PackedDocuments((len(ids),))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), position_ids=layout.position_ids(), layout=layout).logits[0, -1]
    assert first == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-4)


def test_a_caller_that_hangs_up_in_a_stream_frees_its_row(started):
    client = started("--precision", "fp32").client()
    with ask(client, stream=True, max_tokens=400) as pieces:
        next(iter(pieces))
    deadline = time.monotonic() + 20
    while (figures := client.get("../health", cast_to=dict))["running"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert figures["cache_bytes"] == 0


def test_ends_within_two_seconds_of_sigterm_in_the_middle_of_an_answer(started):
    engine = started()
    with ask(engine.client(), stream=True, max_tokens=400) as pieces:
        next(iter(pieces))
        ended = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(10) == 0
        assert time.monotonic() - ended < 2


@pytest.mark.skipif(not hasattr(os, "getppid"), reason="needs parents")
def test_ends_when_its_parent_is_killed(base_folder):
    read, write = os.pipe()
    # the parent keeps the engine's input open for ever; only its death can tell the engine
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'tuneward.serving.engine', '--base', {str(base_folder)!r}],"
        f" stdin={read}, stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "TUNEWARD_ENGINE_KEY": KEY, "OMP_NUM_THREADS": "1"}
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True, pass_fds=[read]
    )
    try:
        child = int(parent.stdout.readline())
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)
    os.close(read)
    os.close(write)


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_port_in_use_is_said_and_exits_with_9(started):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        engine = started("--port", str(taken.getsockname()[1]))
        assert engine.first["event"] == "error"
        assert [fault["code"] for fault in engine.first["faults"]] == ["TW-SERV-002"]
        assert engine.process.wait(10) == 9


@pytest.mark.parametrize("key", [None, "", "short", "ümlaut-ümlaut-ümlaut"])
def test_no_key_no_engine(started, key):
    engine = started(key=key)
    assert engine.first["faults"][0]["code"] == "TW-SERV-003"
    assert engine.process.wait(10) == 9


def test_a_base_that_cannot_be_loaded_is_said(tmp_path):
    engine = Started(tmp_path)
    try:
        assert engine.first["event"] == "error"
        assert engine.process.wait(10) == 4
    finally:
        engine.close()
