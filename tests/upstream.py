"""A scripted upstream: real sockets, and bytes as a script says, however wrong they are."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Script = Callable[[dict], AsyncIterator[bytes]]


@dataclass
class Upstream:
    """What it was asked, and how many of its callers left before its answer was over."""

    url: str = ""
    script: Script = None  # type: ignore[assignment]
    asked: list[dict] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    left: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            self.asked.append(body)
            self.headers.append(headers)
            answering = asyncio.create_task(self._write(writer, body))
            leaving = asyncio.create_task(reader.read(1))
            done, _ = await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering not in done:
                answering.cancel()
                self.left.release()
            leaving.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            await asyncio.wait({asyncio.ensure_future(writer.wait_closed())}, timeout=1)

    async def _write(self, writer: asyncio.StreamWriter, body: dict) -> None:
        async for part in self.script(body):
            writer.write(part)
            await writer.drain()


@contextmanager
def upstream() -> Iterator[Upstream]:
    """One on a free port, in a thread of its own, for as long as a `with` block lasts."""
    loop, told = asyncio.new_event_loop(), Upstream()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(told.answer, "127.0.0.1", 0)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def stop() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    try:
        yield told
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


# Parts of scripts.


def response(
    content: str | bytes, status: int = 200, kind: str = "application/json", **headers: str
) -> bytes:
    """A whole response, after which the connection closes."""
    body = content.encode() if isinstance(content, str) else content
    named = {"content-type": kind, "content-length": str(len(body)), "connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def part(event: bytes) -> bytes:
    """One event as a part of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(event), event)


END = b"0\r\n\r\n"


def delta(content: str | None = None, **choice: object) -> bytes:
    """An event with one choice's delta."""
    said: dict = {"role": "assistant"} if content is None else {"content": content}
    return event(choices=[{"index": 0, "delta": said, "finish_reason": None, **choice}])


def event(**fields: object) -> bytes:
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served-1"}
    return b"data: " + json.dumps(chunk | fields).encode() + b"\n\n"


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
DONE = b"data: [DONE]\n\n"


async def hang() -> None:
    """Until the caller goes or the test is over."""
    await asyncio.Event().wait()
