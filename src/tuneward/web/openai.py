"""The OpenAI-compatible routes.

Place on the road: a door. Each route reads the key, reads the request strictly, lets ``workflows/answer`` do the
work, and writes OpenAI's shapes. Every answer's ``id`` holds the id of its audit event, so that
``tuneward verify ID`` walks from the answer back to the rows.
"""

import datetime
from collections.abc import AsyncGenerator
from typing import Any

from anyio import fail_after
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from tuneward.errors import Fault, ServingError, TunewardError
from tuneward.web.auth import caller
from tuneward.web.errors import http_error, internal_error
from tuneward.web.openai_replies import DONE, ChatShape, CompletionShape, Shape, event, usage_chunk
from tuneward.web.openai_requests import ChatRequest, CompletionRequest, R, read_request
from tuneward.web.streaming import EventStream, unless_left
from tuneward.workflows.answer import Begun, Desk, Piece

#: A body of the largest size takes a second on any network; who sends slower holds a connection for nothing.
_BODY_SECONDS = 60.0
#: nginx's word for "the client closed the request"; nobody is there to read it.
_CLIENT_LEFT = 499


def routes(desk: Desk) -> APIRouter:
    """The routes over one desk."""
    router = APIRouter()

    @router.get("/v1/models")
    async def models(request: Request) -> Response:
        await caller(request, desk)
        listed = [
            {
                "id": deployment.alias,
                "object": "model",
                "created": int(datetime.datetime.fromisoformat(deployment.created_at).timestamp()),
                "owned_by": "tuneward",
            }
            for deployment in await desk.models()
        ]
        return JSONResponse({"object": "list", "data": listed})

    @router.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _generate(request, desk, ChatRequest, ChatShape())

    @router.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _generate(request, desk, CompletionRequest, CompletionShape())

    return router


async def _generate(request: Request, desk: Desk, model: type[R], shape: Shape) -> Response:
    key = await caller(request, desk)
    try:
        with fail_after(_BODY_SECONDS):
            body = await request.body()
    except ClientDisconnect:
        return Response(status_code=_CLIENT_LEFT)
    except TimeoutError:
        what = f"the body did not arrive within {_BODY_SECONDS:g} seconds"
        raise ServingError(Fault("TW-SERV-051", what, cure="send it at once")) from None
    asked: Any = read_request(body, model)
    answer = desk.answer(key, asked.to_ask())
    if asked.stream:

        async def begin() -> Begun:
            return _begun(await anext(answer))

        began = await unless_left(request.receive, begin)
        if began is None:
            await answer.aclose()
            return Response(status_code=_CLIENT_LEFT)
        events = _events(answer, began, shape, include_usage=asked.include_usage)
        return EventStream(events, source=answer, headers=_headers(began))

    async def write() -> tuple[Begun, list[Piece]]:
        first, *rest = [item async for item in answer]
        return _begun(first), [item for item in rest if isinstance(item, Piece)]

    written = await unless_left(request.receive, write)
    if written is None:
        await answer.aclose()
        return Response(status_code=_CLIENT_LEFT)
    begun, pieces = written
    return JSONResponse(shape.whole(begun, pieces), headers=_headers(begun))


async def _events(
    answer: AsyncGenerator[Begun | Piece, None], begun: Begun, shape: Shape, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """The stream's bytes. After it began, an error can only be told inside it; then there is no ``[DONE]``."""
    counted = None
    try:
        for chunk in shape.first(begun):
            yield event(chunk)
        async for piece in answer:
            assert isinstance(piece, Piece), "only the first item is no piece"
            counted = piece.usage or counted
            for chunk in shape.chunks(begun, piece):
                yield event(chunk)
        if include_usage:
            yield event(usage_chunk(shape, begun, counted))
        yield DONE
    except TunewardError as error:
        yield event(http_error(error).to_json())
    except Exception:
        yield event(internal_error().to_json())
        raise
    finally:
        await answer.aclose()


def _begun(item: Begun | Piece) -> Begun:
    assert isinstance(item, Begun), "an answer begins with Begun"
    return item


def _headers(begun: Begun) -> dict[str, str]:
    return {"x-tuneward-version": begun.version, "x-tuneward-digest": begun.adapter}
