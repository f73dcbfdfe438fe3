"""A client that leaves before the first event was drawn still ends the work."""

import anyio
import pytest

from tuneward.web.streaming import EventStream


@pytest.mark.parametrize("gone", ["disconnect", "socket"])
def test_what_feeds_a_stream_is_closed_when_the_client_leaves_before_the_first_event(gone):
    closed = []

    async def answer():
        try:
            yield "begun"
            yield "more"
        finally:
            closed.append("answer")

    async def events(source):
        async for _ in source:
            yield b"data"

    async def receive():
        if gone == "socket":
            await anyio.sleep_forever()
        return {"type": "http.disconnect"}

    async def send(message):
        if gone == "socket":
            raise OSError("the socket is gone")
        await anyio.sleep(1)

    async def walk():
        source = answer()
        await anext(source)
        await EventStream(events(source), source=source, headers={})({"type": "http"}, receive, send)
        assert closed == ["answer"]

    anyio.run(walk)
