"""Middleware in pure ASGI: a name for every request, a limit for every body, and silence about every failure.

Place on the road: around the whole gateway. Knows no route. Streams pass through untouched.
"""

import logging
import traceback

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuneward.errors import Fault, ServingError
from tuneward.ids import new_id
from tuneward.web.errors import http_error, internal_error

_log = logging.getLogger("tuneward.gateway")


class Envelope:
    """Adds ``x-request-id`` and ``cache-control: no-store``, and turns a crash into a bare 500.

    The log gets the exception's class and the lines of code, never its message: that may quote what a client sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = new_id("req"), False

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["cache-control"] = "no-store"
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, named)
        except Exception as error:
            lines = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
            _log.error("request %s failed: %s at %s", request_id, type(error).__name__, " < ".join(reversed(lines)))
            if not started:
                await internal_error().response()(scope, receive, named)


class BodyLimit:
    """Refuses bodies over ``most_bytes``: by their announced length at once, else as soon as they pass it."""

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not announced.isdigit() or int(announced[:20]) > self._most:
            await http_error(self._too_large()).response()(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> ServingError:
        return ServingError(
            Fault(
                "TW-SERV-046", f"the body has more than {self._most} bytes", cure="send less, or raise max_body_bytes"
            )
        )
