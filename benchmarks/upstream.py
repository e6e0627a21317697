"""An upstream that costs next to nothing: `python -m benchmarks.upstream PORT`.

One constant chat completion, streamed where the body says so, by a bare asyncio protocol: what is
measured through a gateway is then the gateway. It checks no key and reads no prompt.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

MODEL = "gpt-4o-mini"
_HEAD = {"id": "chatcmpl-bench", "created": 1_760_000_000, "model": MODEL}
_USAGE = {"prompt_tokens": 60, "completion_tokens": 12, "total_tokens": 72}
ANSWER = "Your order left our warehouse this morning and arrives on Friday."
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": *true')


def _completion() -> bytes:
    message = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = _HEAD | {"object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _response(b"application/json", json.dumps(body).encode())


def _stream() -> bytes:
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word + " "} for word in ANSWER.split()]
    choices: list[list[dict[str, Any]]] = []
    choices += [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    head = _HEAD | {"object": "chat.completion.chunk"}
    chunks = [head | {"choices": choice} for choice in choices]
    chunks.append(head | {"choices": [], "usage": _USAGE})
    frames = [*map(json.dumps, chunks), "[DONE]"]
    return _response(b"text/event-stream", "".join(f"data: {f}\n\n" for f in frames).encode())


def _response(media_type: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (media_type, len(body)) + body


COMPLETION, STREAM = _completion(), _stream()


class Upstream(asyncio.Protocol):
    """One connection, kept alive; requests come one after the other."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        if length := _LENGTH.search(head):
            whole = len(body) >= int(length[1])
        else:
            whole = b"chunked" not in head or body.endswith(b"0\r\n\r\n")
        if whole:
            self._received = b""
            self._transport.write(STREAM if _STREAM.search(body) else COMPLETION)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
