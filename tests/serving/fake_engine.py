"""A stand-in for the engine: the same program line, the same routes, answers computed from their request.

It holds no model. An answer repeats the last user message word by word behind the model's name, so that a test can
say beforehand what must come out. Words in that message steer it:

    ``slow``    a pause between the words, so that a test can leave in the middle
    ``break``   the stream ends in an error after two words
    ``vanish``  the connection is closed after two words
    ``long``    refused: does not fit into the context
    ``tight``   refused so if ``max_tokens`` is over 100; what the context leaves is 3 tokens
    ``hang``    nothing comes

Log-probabilities depend on the model's adapter and on the prompt; an adapter folder that holds a file ``noop`` gives
those of the base. ``GET /fake`` tells what the engine has seen: bodies, cancelled answers, loaded adapters.
"""

import argparse
import asyncio
import json
import math
import os
import random
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


class FakeEngine:
    def __init__(self, *, name: str, key: str, adapters_root: Path, pause: float = 0.02) -> None:
        self.name, self.key, self.root, self.pause = name, key, adapters_root, pause
        self.adapters: dict[str, Path] = {}
        self.bodies: list[dict] = []
        self.cancelled = 0
        self.most_at_once = self._now = 0
        self.app = Starlette(
            routes=[
                Route("/health", self.health),
                Route("/v1/models", self.models),
                Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/fake", self.seen),
            ]
        )

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def seen(self, request: Request) -> Response:
        return JSONResponse(
            {
                "bodies": self.bodies,
                "cancelled": self.cancelled,
                "most_at_once": self.most_at_once,
                "adapters": sorted(self.adapters),
            }
        )

    async def models(self, request: Request) -> Response:
        if refused := self._unauthorised(request):
            return refused
        return JSONResponse({"object": "list", "data": [{"id": n} for n in (self.name, *self.adapters)]})

    async def load(self, request: Request) -> Response:
        if refused := self._unauthorised(request):
            return refused
        body = await request.json()
        path = Path(body["lora_path"]).resolve()
        if self.root.resolve() not in path.parents or not (path / "adapter_config.json").is_file():
            return _error(400, "no adapter there")
        self.adapters[body["lora_name"]] = path
        return Response("ok")

    async def unload(self, request: Request) -> Response:
        if refused := self._unauthorised(request):
            return refused
        body = await request.json()
        if self.adapters.pop(body["lora_name"], None) is None:
            return _error(404, "no such adapter")
        return Response("ok")

    async def chat(self, request: Request) -> Response:
        return await self._generate(request, chat=True)

    async def completions(self, request: Request) -> Response:
        return await self._generate(request, chat=False)

    async def _generate(self, request: Request, *, chat: bool) -> Response:
        if refused := self._unauthorised(request):
            return refused
        body = await request.json()
        self.bodies.append(body)
        if body["model"] not in (self.name, *self.adapters):
            return _error(404, f"no model {body['model']}")
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if "long" in prompt.split() or ("tight" in prompt.split() and body.get("max_tokens", 0) > 100):
            return _error(400, "the prompt is too long", code="context_length_exceeded")
        words = [body["model"][:12], *prompt.split()]
        most = body.get("max_tokens", 3)
        reason = "length" if len(words) > most else "stop"
        words = words[:most]
        pause = self.pause if "slow" in words else 0.0
        if "hang" in words:
            await asyncio.sleep(3600)
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(words)}
        if not body.get("stream"):
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            await asyncio.sleep(pause * len(words) + 0.005)
            self._now -= 1
            text = " ".join(words)
            choice = {"index": 0, "finish_reason": reason, "logprobs": self._logprobs(body, prompt, words)}
            choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            return JSONResponse({"id": "x", "choices": [choice], "usage": usage})
        return StreamingResponse(
            self._stream(body, prompt, words, reason, usage, pause, chat), media_type="text/event-stream"
        )

    async def _stream(self, body, prompt, words, reason, usage, pause, chat):
        def chunk(delta: dict, finish: str | None = None, logprobs=None) -> bytes:
            inner = {"delta": delta} if chat else {"text": delta.get("content", "")}
            choice = {"index": 0, "finish_reason": finish, "logprobs": logprobs, **inner}
            return f"data: {json.dumps({'id': 'x', 'choices': [choice]}, ensure_ascii=False)}\n\n".encode()

        try:
            if chat:
                yield chunk({"role": "assistant", "content": ""})
            for place, word in enumerate(words):
                if place == 2 and "break" in words:
                    yield b'data: {"error": {"message": "the device is gone", "code": null}}\n\n'
                    return
                if place == 2 and "vanish" in words:
                    raise ConnectionResetError
                await asyncio.sleep(pause)
                text = word if place == 0 else f" {word}"
                yield chunk({"content": text}, logprobs=self._logprobs(body, prompt, [text]))
            yield chunk({}, reason)
            if body.get("stream_options", {}).get("include_usage"):
                yield f"data: {json.dumps({'id': 'x', 'choices': [], 'usage': usage})}\n\n".encode()
            yield b"data: [DONE]\n\n"
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    def _logprobs(self, body: dict, prompt: str, words: list[str]) -> dict | None:
        if not body.get("logprobs"):
            return None
        adapter = self.adapters.get(body["model"])
        ignored = adapter is None or (adapter / "noop").exists()
        seed = f"{prompt}|{'base' if ignored else body['model']}"
        rng = random.Random(seed)
        raw = sorted((rng.gauss(0, 2) for _ in range(body.get("top_logprobs", 1) + 10)), reverse=True)
        total = math.log(sum(math.exp(v) for v in raw))
        top = [
            {"token": f"t{i}", "bytes": list(f"t{i}".encode()), "logprob": value - total}
            for i, value in enumerate(raw[: body.get("top_logprobs", 1)])
        ]
        return {"content": [{"token": w, "logprob": -0.5, "bytes": None, "top_logprobs": top} for w in words]}

    def _unauthorised(self, request: Request) -> Response | None:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "no")
        return None


def _error(status: int, message: str, code: str | None = None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return JSONResponse({"error": error}, status_code=status)


class Running:
    """The fake engine on a real loopback port, in a thread of the test's process."""

    def __init__(self, app) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def __enter__(self) -> "Running":
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--base", "--name", "--port", "--precision", "--max-rows", "--adapters-root", "--quantisation"):
        parser.add_argument(name)
    options = parser.parse_args()
    mode = os.environ.get("FAKE_ENGINE_MODE", "")
    print("a line for the log", file=sys.stderr, flush=True)
    if mode == "faults":
        fault = {"code": "TW-SERV-044", "message": "no such base", "place": options.base, "cure": "pull it"}
        print(json.dumps({"event": "error", "faults": [fault, fault | {"code": "TW-NONE-1"}]}), flush=True)
        sys.exit(9)
    if mode == "exit":
        sys.exit(7)
    if mode == "silent":
        time.sleep(60)
    engine = FakeEngine(
        name=options.name, key=os.environ["TUNEWARD_ENGINE_KEY"], adapters_root=Path(options.adapters_root)
    )
    with Running(engine.app) as running:
        port = int(running.url.rsplit(":", 1)[1])
        print("chatter that is no JSON", flush=True)
        print(
            json.dumps(
                {"event": "ready", "port": port, "precision": "fp32", "quantisation": options.quantisation or "none"}
            ),
            flush=True,
        )
        if mode == "stubborn":
            time.sleep(60)
        while sys.stdin.buffer.read(1):
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
