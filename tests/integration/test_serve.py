"""`fareway serve` as an engineer starts it: one process for requests, one for the classifier."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from benchmarks.gateways import fareway, started
from benchmarks.load import Target
from local.aggregator import create_app
from local.background import Background
from local.serving import serve

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: one process")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with ExitStack() as ending:
        upstream = ending.enter_context(serve(create_app("tokenmix", latency_scale=0)))
        yield started(fareway(f"{upstream}/v1"), tmp_path, ending)["fareway"]


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def complexities(sdk: AsyncOpenAI, about: str) -> list[str]:
    """Of twelve new prompts, asked side by side."""
    prompts = [f"How do I return {about} number {n}, which I bought last week?" for n in range(12)]
    answers = await asyncio.gather(
        *(
            sdk.chat.completions.with_raw_response.create(
                model="fareway/auto", messages=[{"role": "user", "content": prompt}]
            )
            for prompt in prompts
        )
    )
    return [answer.headers["x-fareway-complexity"] for answer in answers]


async def test_requests_outlive_the_classifiers_process_which_ends_with_the_server(
    target: Target, tmp_path: Path
) -> None:
    server = Background("fareway", tmp_path)
    pid = server.pid()
    assert pid is not None
    key = target.headers["authorization"].removeprefix("Bearer ")
    url = f"http://127.0.0.1:{target.port}/v1"
    async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as sdk:
        async with asyncio.timeout(60):
            while not children(pid):
                await complexities(sdk, "a kettle")
        before = await complexities(sdk, "a lamp")
        (scorer,) = children(pid)
        asking = asyncio.create_task(complexities(sdk, "a chair"))
        os.kill(scorer, signal.SIGKILL)
        assert await asking == await complexities(sdk, "a table") == before
    assert children(pid) == []
    server.stop()
    assert "Traceback" not in server.log.read_text()


async def test_it_ends_with_a_server_that_is_killed(target: Target, tmp_path: Path) -> None:
    server = Background("fareway", tmp_path)
    pid = server.pid()
    assert pid is not None
    (scorer,) = children(pid)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while not ended(scorer):
            await asyncio.sleep(0.01)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
