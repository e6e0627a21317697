"""Between ASGI and the relay: a caller that leaves ends what was begun for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fareway.relay import Relay

T = TypeVar("T")


class EventStream(StreamingResponse):
    """The frames of a relay, each sent as it is made."""

    def __init__(self, relay: Relay, headers: Mapping[str, str]) -> None:
        # x-accel-buffering: nginx, among others, would gather the frames of a stream otherwise.
        kept = {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(relay.frames(), headers=kept, media_type="text/event-stream")
        self.relay = relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            pass
        finally:
            await self.relay.end()


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work brings; it is cancelled when the caller goes before that.

    The request's body must have been read.

    Raises:
        ClientDisconnect: the caller is gone.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
            raise ClientDisconnect
        return await working
    finally:
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
