"""An upstream that streams slowly, and says in each chunk when it sent it: `... paced PORT`.

The stamp is `time.monotonic_ns()`, which all processes of a machine share on Linux.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

CHUNKS, PAUSE_S = 8, 0.01
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini"}
    return _part(b"data: " + json.dumps(chunk | {"choices": [choice]}).encode() + b"\n\n")


def _part(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests of one connection, one after the other."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(_HEAD + _event({"role": "assistant"}))
            for _ in range(CHUNKS):
                await asyncio.sleep(PAUSE_S)
                writer.write(_event({"content": f"{time.monotonic_ns()} "}))
            writer.write(_event({}, "stop") + _part(b"data: [DONE]\n\n") + b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
