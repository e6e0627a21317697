"""The benchmark's own parts: what it sends, what it takes for an answer, what it subtracts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import pytest

from benchmarks.load import Target, WrongAnswer, latencies
from benchmarks.overhead import less_upstream, table
from benchmarks.upstream import COMPLETION, STREAM, Upstream


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_no_prompt_is_sent_twice():
    prompts = set()
    for request in islice(Target(1, "fareway/auto", {"authorization": "Bearer k"}).requests(), 100):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head
        assert b"authorization: Bearer k" in head
        prompts.add(json.loads(body)["messages"][0]["content"])
    assert len(prompts) == 100


async def test_every_answer_is_timed():
    async with upstream() as port:
        found, per_second = await asyncio.to_thread(latencies, Target(port, "m"), 2, 0.05)
    assert len(found) > 2
    assert min(found) > 0
    assert per_second > 0


async def test_an_answer_without_its_proof_is_no_figure():
    target = Target(0, "m", proofs=(b"x-fareway-cache: none",))
    async with upstream() as port:
        target = Target(port, "m", proofs=target.proofs)
        with pytest.raises(WrongAnswer, match="x-fareway-cache: none"):
            await asyncio.to_thread(latencies, target, 1, 0.05)


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("content-length: 15", '{"stream":true}'),
        ("transfer-encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"),
    ],
)
async def test_the_upstream_answers_once_the_body_is_whole(framing, body):
    wanted = STREAM if "stream" in body else COMPLETION
    async with upstream() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # the connection is kept
            writer.write(f"POST / HTTP/1.1\r\n{framing}\r\n\r\n{body[:2]}".encode())
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(body[2:].encode())
            assert await reader.readexactly(len(wanted)) == wanted
        writer.close()
        await writer.wait_closed()


def test_a_gateways_figures_are_what_it_adds():
    alone = {"c1_p50_ms": 1.0, "rps8": 1000.0}
    found = less_upstream({"fareway": {"c1_p50_ms": 3.5, "rps8": 100.04}, "upstream": alone})
    assert found == {"fareway": {"c1_p50_ms": 2.5, "rps8": 100.0}, "upstream": alone}


def test_a_gateway_that_is_missing_has_no_figures():
    own = {"c1_p50_ms": 1.0, "c1_p99_ms": 2.0, "c8_p50_ms": 3.0, "c8_p99_ms": 4.0, "rps8": 5.0}
    shown = table(
        dict.fromkeys(("fareway", "fareway_pinned", "upstream"), own)
        | {"litellm": None, "portkey": None}
    )
    assert list(shown.columns[1].cells).count("missing") == 2
