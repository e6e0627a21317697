"""Between ASGI and the app: bodies within limits, time left, and callers that leave."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fareway.body import MAX_BODY_BYTES
from fareway.eager import begin
from fareway.errors import PayloadTooLarge
from fareway.relay import Relay, Voice

T = TypeVar("T")
#: Kept back from the Lambda's remaining time, to record and answer in; milliseconds.
RESERVE_MS = 1_500


class EventStream(StreamingResponse):
    """The frames of a relay, each sent as it is made."""

    def __init__(self, relay: Relay, voice: Voice, headers: Mapping[str, str]) -> None:
        # x-accel-buffering: nginx, among others, would gather the frames of a stream otherwise.
        kept = {**headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(relay.frames(voice), headers=kept, media_type="text/event-stream")
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
    working = begin(work)
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
        working.cancel()  # where the server itself ends; else it is done


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_body(request: Request) -> bytes:
    """The body, never more of it than the limit.

    Raises:
        PayloadTooLarge: as soon as the limit is passed.
    """
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise PayloadTooLarge(
                f"The request body is over the limit of {MAX_BODY_BYTES} bytes. "
                "Shorten 'messages', or send files by reference."
            )
    return bytes(raw)


def time_left_ms(request: Request, deadline_ms: int) -> float:
    """Our own deadline, or what the Lambda has left less a reserve, whichever is sooner."""
    context = request.scope.get("aws.context")
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is not None:
        return min(float(deadline_ms), max(0.0, float(remaining()) - RESERVE_MS))
    adapter = request.headers.get("x-amzn-lambda-context")
    if adapter is None:
        return deadline_ms
    try:
        until_ms = float(json.loads(adapter)["deadline"])  # as the Lambda Web Adapter tells it
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return deadline_ms  # a caller may send the header too, with anything in it
    return min(float(deadline_ms), max(0.0, until_ms - time.time() * 1000 - RESERVE_MS))
