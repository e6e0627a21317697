"""Server-sent events: an upstream's bytes -> events, and events -> frames for the caller.

Source: html.spec.whatwg.org/multipage/server-sent-events.html (parsing), and the `openai` SDK's
types/chat/chat_completion_chunk.py; a chat stream's frames are `data: JSON\\n\\n`, the last is
`data: [DONE]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fareway.errors import ProviderError

DONE = "[DONE]"
KEEP_ALIVE = b": keep-alive\n\n"
MAX_EVENT_BYTES = (
    16 * 1024 * 1024
)  # a picture in a delta is megabytes; a stream without ends is not

_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event as it came. `said` is None for a comment, which keeps a connection alive."""

    data: str
    said: dict[str, Any] | None


class Events:
    """The data of events as bytes come in, cut anywhere; `None` for a comment or an empty event.

    Lines end in LF, CRLF or CR. Fields other than `data` say nothing in a chat stream.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[str] = []
        self._after_cr = False  # an LF that comes next ends no line: it is the CR's own

    def feed(self, received: bytes) -> Iterator[str | None]:
        """What the bytes complete.

        Raises:
            ProviderError: `bad_line`: no UTF-8, or one event of more than `MAX_EVENT_BYTES`.
        """
        self._rest += received.removeprefix(b"\n") if self._after_cr else received
        self._after_cr = received.endswith(b"\r")
        *lines, rest = _LINE_END.split(self._rest)
        self._rest = bytearray(rest)
        if len(rest) > MAX_EVENT_BYTES or sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise ProviderError("bad_line", retryable=True)
        for line in lines:
            yield from self._line(bytes(line))

    def end(self) -> Iterator[str | None]:
        """What is left at the end of the stream: some upstreams spare the last blank line."""
        yield from self.feed(b"\n\n")

    def _line(self, line: bytes) -> Iterator[str | None]:
        if not line:
            if self._data:
                data, self._data = "\n".join(self._data), []
                yield data if data.strip() else None
        elif line.startswith(b":"):
            yield None
        elif line.startswith(b"data:"):
            try:
                self._data.append(line[5:].removeprefix(b" ").decode())
            except UnicodeDecodeError as error:
                raise ProviderError("bad_line", retryable=True) from error


def frame(data: Mapping[str, Any] | str, event: str | None = None) -> bytes:
    """One event, as JSON if it is not text yet; `event` is its type, which chat streams lack."""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    text = text.replace("\n", " ")  # between JSON's tokens; in its strings they are escaped
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {text}\n\n".encode()


def as_chunks(completion: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole completion as chunks, where an upstream answered a stream's request with one.

    For each choice its message, then its end; then the usage.

    Args:
        completion: a `chat.completion` body.
    """
    head = {
        "id": completion.get("id", ""),
        "object": "chat.completion.chunk",
        "created": completion.get("created", 0),
        "model": completion.get("model", ""),
    }
    head |= {
        name: completion[name]
        for name in ("system_fingerprint", "service_tier", "provider")
        if name in completion
    }
    for choice in completion["choices"]:
        delta = {k: v for k, v in choice["message"].items() if v is not None}
        delta.setdefault("role", "assistant")
        if delta.get("tool_calls"):
            calls = objects(delta["tool_calls"])
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        shared = {"index": choice.get("index", 0), "logprobs": choice.get("logprobs")}
        yield head | {"choices": [shared | {"delta": delta, "finish_reason": None}]}
        end = {"index": shared["index"], "logprobs": None, "delta": {}}
        end["finish_reason"] = choice.get("finish_reason") or "stop"
        yield head | {"choices": [end]}
    if completion.get("usage"):
        yield head | {"choices": [], "usage": completion["usage"]}


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects of a list that an upstream wrote, where it is one."""
    return (x for x in value if isinstance(x, dict)) if isinstance(value, list) else iter(())
