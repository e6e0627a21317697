"""One upstream's answer as it arrives: its chunks, checked, and what they tell of its cost.

What goes wrong is a `ProviderError`, before the first content and after it alike; who reads
decides what that means. Sources: openrouter.ai/docs/api_reference/streaming, and the `openai`
SDK's types/chat/chat_completion_chunk.py.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import ClientResponse

from fareway.errors import ProviderError
from fareway.prices import Usage
from fareway.providers.aggregator import (
    FAULTS,
    Aggregator,
    Completion,
    error_in_body,
    lost,
)
from fareway.render import text_of
from fareway.sse import DONE, Chunk, Events, as_chunks, objects
from fareway.trace import Trace
from fareway.usage import read_cost, read_usage
from fareway.wire import words

#: How long the end of a connection is waited for, seconds, so that it can be used again.
LINGER_S = 0.05
#: Of a delta, what a caller can show. `reasoning` is OpenRouter's name, `reasoning_content`
#: DeepSeek's.
CONTENT = (
    "content", "refusal", "tool_calls", "function_call", "audio", "images",
    "reasoning", "reasoning_content", "reasoning_details",
)  # fmt: skip


@dataclass(slots=True)
class Stream:
    """A streamed completion.

    Args:
        response: of which only the head was read.
        served_model: the one that was asked for, until a chunk names another.
        pause_s: how long two events may lie apart, seconds.
        deadline: on `time.monotonic`, seconds.

    The rest fills up as chunks are read: the usage and the cost that they tell, and the text of
    all choices, for counting.
    """

    response: ClientResponse
    served_model: str
    pause_s: float
    deadline: float
    text: list[str] = field(default_factory=list)
    id: str | None = None
    _usage: Usage | None = None
    _cost_usd: Decimal | None = None
    _said: list[str] = field(default_factory=list)  # of the text, the first choice's content
    _finished: dict[int, bool] = field(default_factory=dict)  # by choice: True once it is over
    _done: bool = False
    _held: list[Chunk] = field(default_factory=list)
    _chunks: AsyncIterator[Chunk] = field(init=False)

    def __post_init__(self) -> None:
        self._chunks = self._read()

    @property
    def said(self) -> str:
        return "".join(self._said)

    @property
    def usage(self) -> Usage | None:
        """Some upstreams tell it on the way as well: of a stream that was cut it is too little."""
        return self._usage if self._over else None

    @property
    def cost_usd(self) -> Decimal | None:
        return self._cost_usd if self._over else None

    @property
    def _over(self) -> bool:
        return self._done or (bool(self._finished) and all(self._finished.values()))

    async def begin(self) -> None:
        """Reads on until there is content; chunks before it are held back.

        Raises:
            ProviderError: it ended, failed or made no sense before.
        """
        async for chunk in self._chunks:
            self._held.append(chunk)
            if self._finished:
                return
        raise ProviderError("cut_stream", retryable=True)

    async def chunks(self) -> AsyncIterator[Chunk]:
        """All chunks, those held back first.

        Raises:
            ProviderError: the stream broke off: `cut_stream`, `stalled`, `deadline`, `bad_line`,
                `error_in_body` or the status that an error in it names.
        """
        for chunk in self._held:
            yield chunk
        async for chunk in self._chunks:
            yield chunk
        if not self._over:
            raise ProviderError("cut_stream", retryable=True)

    async def close(self) -> None:
        """Ends the call. A connection whose answer is over goes back to the pool."""
        try:
            if self._done:
                async with asyncio.timeout(LINGER_S):
                    await self.response.content.readany()
        except FAULTS:
            pass
        finally:
            if self.response.content.at_eof():
                self.response.release()
            else:
                self.response.close()

    async def _read(self) -> AsyncIterator[Chunk]:
        events = Events()
        while not self._done:
            received = await self._next()
            for data in events.end() if received is None else events.feed(received):
                if data is None:
                    yield Chunk("", None)
                elif data.strip() == DONE:
                    self._done = True
                    return
                else:
                    yield Chunk(data, self._chunk(data))
            if received is None:
                return

    async def _next(self) -> bytes | None:
        """The next bytes; None at the end."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise ProviderError("deadline")
        try:
            async with asyncio.timeout(min(self.pause_s, left_s)):
                return await self.response.content.readany() or None
        except TimeoutError as error:
            raise ProviderError("deadline" if left_s <= self.pause_s else "stalled") from error
        except FAULTS as error:
            raise lost(error, "cut_stream") from error

    def _chunk(self, data: str) -> dict[str, Any]:
        """Reads one chunk into what is known of the completion."""
        try:
            said = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ProviderError("bad_line", retryable=True) from error
        if not isinstance(said, dict):
            raise ProviderError("bad_line", retryable=True)
        error_in_body(said)
        if isinstance(model := said.get("model"), str) and model:
            self.served_model = model
        if not self.id and isinstance(id_ := said.get("id"), str):  # Azure's first is empty
            self.id = id_
        if isinstance(usage := said.get("usage"), dict):
            self._usage = read_usage(usage) or self._usage
            cost_usd = read_cost(usage)
            self._cost_usd = self._cost_usd if cost_usd is None else cost_usd
        for choice in objects(said.get("choices")):
            self._choice(choice)
        return said

    def _choice(self, choice: Mapping[str, Any]) -> None:
        index, delta = choice.get("index"), choice.get("delta")
        index = index if isinstance(index, int) else 0
        self.text += words(delta)
        if index == 0 and isinstance(delta, dict):
            self._said.append(text_of(delta.get("content")))
        if choice.get("finish_reason"):  # some upstreams write "" for null
            self._finished[index] = True
        elif isinstance(delta, dict) and any(map(delta.get, CONTENT)):
            self._finished.setdefault(index, False)


@dataclass(slots=True)
class Whole:
    """The answer of an upstream that does not stream, as if it had."""

    completion: Completion

    @property
    def served_model(self) -> str:
        return self.completion.served_model

    @property
    def usage(self) -> Usage | None:
        return self.completion.usage

    @property
    def cost_usd(self) -> Decimal | None:
        return self.completion.cost_usd

    @property
    def text(self) -> list[str]:
        return self.completion.text

    @property
    def said(self) -> str:
        return self.completion.said

    @property
    def id(self) -> str | None:
        return self.completion.id

    async def chunks(self) -> AsyncIterator[Chunk]:
        for said in as_chunks(self.completion.body):
            yield Chunk(json.dumps(said, separators=(",", ":")), said)

    async def close(self) -> None:
        pass


async def begin(
    aggregator: Aggregator,
    model: str,
    body: Mapping[str, Any],
    timeout_s: float,
    trace: Trace,
    *,
    pause_s: float,
    deadline: float,
) -> Stream | Whole:
    """One attempt at a stream: it counts as one once there is content.

    Args:
        pause_s, deadline: of the `Stream`.

    Raises:
        ProviderError: as `Aggregator.stream` and `Stream.begin`.
    """
    response = await aggregator.stream(model, body, timeout_s, trace)
    if isinstance(response, Completion):
        return Whole(response)
    stream = Stream(response, model, pause_s, deadline)
    try:
        await stream.begin()
    except BaseException:
        response.close()
        raise
    return stream
