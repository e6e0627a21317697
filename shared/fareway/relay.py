"""A stream that has begun -> the caller's frames and, however it ends, one settlement.

Failover is over once there is content: what goes wrong from here on goes out as one error frame,
and the stream closes without `[DONE]`. Source: the `openai` SDK's _streaming.py, which raises on
a frame with an `error`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from fareway.decide import Candidate
from fareway.dispatch import Trail
from fareway.errors import FarewayError, ProviderError, StreamBroke
from fareway.prices import Usage
from fareway.record import Routed
from fareway.sse import DONE, KEEP_ALIVE, Chunk, frame

#: What the ledger says of a stream that its caller left (nginx's status for that).
CALLER_LEFT = 499


class Served(Protocol):
    """What an answer tells of its cost."""

    @property
    def served_model(self) -> str: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def cost_usd(self) -> Decimal | None: ...
    @property
    def text(self) -> list[str]: ...
    @property
    def said(self) -> str: ...
    @property
    def id(self) -> str | None: ...


class Upstream(Served, Protocol):
    """A streamed answer that has begun."""

    def chunks(self) -> AsyncIterator[Chunk]: ...
    async def close(self) -> None: ...


class Voice(Protocol):
    """What the caller's protocol makes of a stream; each of these is sent as it is."""

    def chunk(self, chunk: Chunk) -> bytes | None: ...
    def done(self) -> bytes: ...
    def broke(self, error: FarewayError) -> bytes: ...


@dataclass(slots=True)
class ChatFrames:
    """A chat stream: chunks as they came, but for the usage.

    That goes last and alone to a caller that asked for it, wherever an upstream puts it.

    Args:
        include_usage: the caller's `stream_options.include_usage`.
    """

    include_usage: bool
    _usage: dict[str, Any] | None = None

    def chunk(self, chunk: Chunk) -> bytes | None:
        said = chunk.said
        if said is None:
            return KEEP_ALIVE
        if "usage" not in said:
            return frame(chunk.data)
        usage = said["usage"]
        if usage is not None and self.include_usage:
            self._usage = {**said, "choices": [], "usage": usage}
        if usage is not None and not said.get("choices"):
            return None
        if usage is None and self.include_usage:
            return frame(chunk.data)
        rest = {name: value for name, value in said.items() if name != "usage"}
        return frame(rest | {"usage": None} if self.include_usage else rest)

    def done(self) -> bytes:
        return (b"" if self._usage is None else frame(self._usage)) + frame(DONE)

    def broke(self, error: FarewayError) -> bytes:
        return frame(error.body())


@dataclass(slots=True)
class Relay:
    """One stream on its way.

    Args:
        trail: how it came to begin.
        left_usd: of the key's budget, while this request was held of it; None without one.
        broke: told of a failure after the first content.
        settle: bills and records, given the status; called once.
    """

    routed: Routed
    candidate: Candidate
    upstream: Upstream
    trail: Trail
    left_usd: Decimal | None
    broke: Callable[[ProviderError], None]
    settle: Callable[[int], Awaitable[None]]
    _status: int = CALLER_LEFT
    _ending: asyncio.Task[None] | None = field(default=None)

    async def frames(self, voice: Voice) -> AsyncIterator[bytes]:
        """The stream as the caller reads it. The event is recorded before it is over."""
        try:
            async for chunk in self.upstream.chunks():
                if told := voice.chunk(chunk):
                    yield told
        except ProviderError as failure:
            self.broke(failure)
            error = StreamBroke(failure.kind, self.routed.decision_id)
            self._status = error.status
            yield voice.broke(error)
        except Exception:
            self._status = 500  # a bug of ours, and no caller that left
            raise
        else:
            self._status = 200
            yield voice.done()
        await self.end()

    async def end(self) -> None:
        """Stops the upstream's call and settles, once, also where the caller is gone."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        await self.upstream.close()
        await self.settle(self._status)
