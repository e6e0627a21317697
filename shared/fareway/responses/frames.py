"""A relay's stream in the words of the Responses API; it ends without a `[DONE]`."""

from __future__ import annotations

from dataclasses import dataclass

from fareway.errors import FarewayError
from fareway.responses.events import Event, ResponseEvents
from fareway.sse import KEEP_ALIVE, Chunk, frame


@dataclass(slots=True)
class ResponseFrames:
    """Chunks of a chat completion -> the frames of a Responses stream."""

    events: ResponseEvents

    def chunk(self, chunk: Chunk) -> bytes | None:
        return KEEP_ALIVE if chunk.said is None else _framed(self.events.feed(chunk.said))

    def done(self) -> bytes:
        return _framed(self.events.finish())

    def broke(self, error: FarewayError) -> bytes:
        return _framed(self.events.fail(error.body()["error"]))


def _framed(events: list[Event]) -> bytes:
    return b"".join(frame(event, event["type"]) for event in events)
