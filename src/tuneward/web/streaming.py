"""Streaming: bytes to a client that may leave at any moment.

Place on the road: between the OpenAI routes and the socket. When the client leaves, the work behind the stream is
cancelled and closed before the request ends; that is what frees the engine's row.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from anyio import CancelScope, create_task_group
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class EventStream(Response):
    """Server-sent events from a generator, which is closed when the client leaves.

    Args:
        events: yields whole events.
        source: what ``events`` draws from. It is closed too, since a generator from which nothing was drawn runs no
            ``finally``.
        headers: further response headers.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], *, source: AsyncGenerator[Any, None], headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, headers={**headers, "x-accel-buffering": "no"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._events, self._source = events, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def write() -> None:
            async with aclosing(self._events) as events:
                try:
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                    async for data in events:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                except OSError:
                    return  # the socket is gone: the client left

        try:
            await unless_left(receive, write)
        finally:
            with CancelScope(shield=True):
                await self._source.aclose()


async def unless_left(receive: Receive, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
    """Run ``work`` until it ends or the client leaves; then it is cancelled and None comes back.

    The request's body must have been read.
    """
    found: list[T] = []
    failed: list[Exception] = []
    async with create_task_group() as group:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            found.append(await work())
        except Exception as error:  # carried out of the group as itself, not inside an exception group
            failed.append(error)
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return found[0] if found else None
