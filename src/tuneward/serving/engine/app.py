"""The engine's HTTP face: OpenAI's routes and vLLM's adapter routes, for one caller that holds the key.

Place on the road: the gateway and evaluation speak to it over loopback. Every error has OpenAI's shape, and says by
``x-should-retry: false`` that asking again is of no use where it is not. Knows nothing about policy, users or proof.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from tuneward.errors import Fault, ModelError, ServingError, TunewardError
from tuneward.ids import new_id
from tuneward.modeling.adapter_files import load_adapter
from tuneward.modeling.chat import Chat
from tuneward.serving.engine.adapters import confine
from tuneward.serving.engine.answer import Piece, Token
from tuneward.serving.engine.scheduler import End, Event, Failure, Job, Scheduler, unknown_model
from tuneward.serving.engine.schema import (
    ChatRequest,
    ChatShape,
    CompletionRequest,
    CompletionShape,
    LoadRequest,
    UnloadRequest,
    error_body,
)

#: Faults of the caller, and the HTTP status and OpenAI code that say so.
_STATUS = {
    "TW-SERV-005": (404, "model_not_found"),
    "TW-SERV-006": (400, "context_length_exceeded"),
    "TW-SERV-010": (500, "engine_failed"),
}


@dataclass(frozen=True)
class Engine:
    """What the routes work on.

    Attributes:
        name: the base's name in ``model``.
        precision: of weights and activations.
        chat: tokenizer and template.
        scheduler: started.
        key: what callers must bring.
        adapters_root: where adapters may lie; None for no adapters.
    """

    name: str
    precision: str
    chat: Chat
    scheduler: Scheduler
    key: str
    adapters_root: Path | None


def build_app(engine: Engine) -> FastAPI:
    """The routes over ``engine``."""
    app = FastAPI(title="Tuneward engine", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_KeyRequired, key=engine.key)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(TunewardError, _on_fault)
    app.add_exception_handler(Exception, _on_crash)
    started = int(time.time())

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "precision": engine.precision, **engine.scheduler.figures}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        common = {"object": "model", "created": started, "owned_by": "tuneward", "root": engine.name}
        base = {"id": engine.name, **common, "parent": None, "max_model_len": engine.scheduler.context_tokens}
        tuned = [{"id": name, **common, "parent": engine.name} for name in engine.scheduler.adapters]
        return {"object": "list", "data": [base, *tuned]}

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        prompt = engine.chat.prompt_ids([message.plain() for message in body.messages])
        shape = ChatShape(_head("chatcmpl", body.model))
        return await _answer(engine, body, prompt, shape, request)

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        prompt = engine.chat.text_ids(body.text)
        shape = CompletionShape(_head("cmpl", body.model))
        return await _answer(engine, body, prompt, shape, request)

    @app.post("/v1/load_lora_adapter")
    async def load_lora_adapter(body: LoadRequest) -> PlainTextResponse:
        if body.lora_name == engine.name:
            fault = Fault("TW-SERV-009", f"{body.lora_name} is the base's name", "lora_name", "choose another name")
            raise ServingError(fault)
        folder = confine(engine.adapters_root, body.lora_path)
        weights = await asyncio.to_thread(load_adapter, folder)
        await asyncio.wrap_future(engine.scheduler.load(body.lora_name, weights))
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter")
    async def unload_lora_adapter(body: UnloadRequest) -> PlainTextResponse:
        await asyncio.wrap_future(engine.scheduler.unload(body.lora_name))
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    return app


def _head(prefix: str, model: str) -> dict[str, Any]:
    return {"id": new_id(prefix).replace("_", "-", 1), "created": int(time.time()), "model": model}


async def _answer(
    engine: Engine,
    body: ChatRequest | CompletionRequest,
    prompt: list[int],
    shape: ChatShape | CompletionShape,
    request: Request,
) -> Response:
    job, events = _submit(engine, body, prompt)
    try:
        event = await _next(events, request)
        if body.stream:
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            stream = _stream(job, event, events, shape, with_usage=with_usage)
            return _Cancelling(stream, lambda: engine.scheduler.cancel(job))
        texts, tokens = [], list[Token]()
        while isinstance(event, Piece):
            texts.append(event.text)
            tokens += event.tokens
            event = await _next(events, request)
    except BaseException:
        engine.scheduler.cancel(job)
        raise
    asked = job.sampling.top_logprobs is not None
    return JSONResponse(shape.whole("".join(texts), tokens if asked else None, event))


class _Cancelling(StreamingResponse):
    """Events of one answer; the answer ends with them, also when the caller left before the first was drawn."""

    def __init__(self, events: AsyncIterator[str], cancel: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._cancel = cancel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._cancel()


def _submit(
    engine: Engine, body: ChatRequest | CompletionRequest, prompt: list[int]
) -> tuple[Job, asyncio.Queue[Event]]:
    scheduler = engine.scheduler
    adapter = None if body.model == engine.name else body.model
    if adapter is not None and adapter not in scheduler.adapters:
        raise unknown_model(adapter)
    room = scheduler.context_tokens - len(prompt)
    wanted = body.wanted_tokens
    if not prompt or room < (wanted or 1):
        told = f"prompt of {len(prompt)} tokens and answer of up to {wanted or 1} do not fit"
        message = f"{told} into the context of {scheduler.context_tokens}" if prompt else "the prompt is empty"
        raise ServingError(Fault("TW-SERV-006", message, "messages", "shorten the prompt or lower max_tokens"))
    loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

    def tell(event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed when the process ends
            loop.call_soon_threadsafe(events.put_nowait, event)

    job = Job(prompt, adapter, body.sampling(max_tokens=wanted or room), tell)
    scheduler.submit(job)
    return job, events


async def _next(events: asyncio.Queue[Event], request: Request) -> Piece | End:
    """The next event; raises when it is a failure, or when the caller has hung up."""
    waiting, gone = asyncio.ensure_future(events.get()), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise HTTPException(499, "the caller hung up")
        event = waiting.result()
        if isinstance(event, Failure):
            raise event.error
        return event
    finally:
        waiting.cancel()
        gone.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    job: Job,
    event: Event,
    events: asyncio.Queue[Event],
    shape: ChatShape | CompletionShape,
    *,
    with_usage: bool,
) -> AsyncIterator[str]:
    asked = job.sampling.top_logprobs is not None
    if (opening := shape.first()) is not None:
        yield _event(opening, with_usage=with_usage)
    while isinstance(event, Piece):
        yield _event(shape.piece(event.text, list(event.tokens) if asked else None), with_usage=with_usage)
        event = await events.get()
    if isinstance(event, Failure):
        yield _event(_body(event.error)[1])
        return
    yield _event(shape.last(event), with_usage=with_usage)
    if with_usage:
        yield _event(shape.usage(event))
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any], *, with_usage: bool = False) -> str:
    if with_usage:
        value = {**value, "usage": None}
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _body(error: TunewardError) -> tuple[int, dict[str, Any]]:
    fault = error.faults[0]
    caller = isinstance(error, ModelError | ServingError)
    status, code = _STATUS.get(fault.code, (400 if caller else 500, fault.code))
    kind = "server_error" if status >= 500 else "invalid_request_error"
    message = "; ".join(f"{f.place}: {f.message}" if f.place else f.message for f in error.faults)
    return status, error_body(message, kind=kind, param=fault.place or None, code=code)


def _refuse(status: int, body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, status, {"x-should-retry": "false"} if status < 500 else None)


async def _on_fault(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TunewardError)
    return _refuse(*_body(error))


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    places = [".".join(str(part) for part in item["loc"][1:]) for item in error.errors()]
    told = [f"{p}: {i['msg']}" if p else str(i["msg"]) for p, i in zip(places, error.errors(), strict=True)]
    body = error_body("; ".join(told), kind="invalid_request_error", param=places[0] or None, code="TW-SERV-004")
    return _refuse(400, body)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _refuse(error.status_code, error_body(str(error.detail), kind="invalid_request_error"))


async def _on_crash(request: Request, error: Exception) -> JSONResponse:
    logging.getLogger("uvicorn.error").error("%s in %s", type(error).__name__, request.url.path)
    return _refuse(500, error_body("the engine failed", kind="server_error", code="engine_failed"))


class _KeyRequired:
    """Lets nobody through without the key; compares in constant time (pure ASGI, so that streams are not buffered)."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                told = "the key is wrong" if given else "a key is missing: Authorization: Bearer KEY"
                body = error_body(told, kind="invalid_request_error", code="invalid_api_key")
                await _refuse(401, body)(scope, receive, send)
                return
        await self._app(scope, receive, send)
