"""Callers that leave at an awkward moment: what was reserved, kept or answered is not lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from fareway.asks import Bounds
from fareway.judge import Judge
from fareway.memory import Recalled
from fareway.prices import Usage
from fareway.providers.aggregator import Completion
from fareway.record import Asked
from fareway.relay import ChatFrames, Relay
from fareway.route import Router
from fareway.scoring import Scoring
from fareway.sse import Chunk
from fareway.verdicts import Verdicts
from fareway.wire import parse_chat
from tests.builders import a_caller, a_chat, a_completion, a_policy, a_verdict, raw


class Parts:
    """All parts of a router in one; `at` names the one that holds until `go` is set."""

    version, remote, secret, ttl_s = "test-1", False, b"", 60

    def __init__(self, at: str) -> None:
        self.at, self.reached, self.go = at, asyncio.Event(), asyncio.Event()
        self.events, self.settled = [], []

    async def _held(self, name):
        if name == self.at:
            self.reached.set()
            await self.go.wait()

    def score(self, text):
        return a_verdict(1)

    def get_local(self, key):
        return None

    async def recall(self, key, prompt, session):
        return Recalled()

    async def keep(self, key, prompt, entry):
        await self._held("keep")
        return True

    async def after(self, asked, routed, outcome):
        await self._held("remember")
        return 0

    async def reserve(self, caller, usd, *, over=False):
        await self._held("reserve")
        return Held()

    async def settle(self, held, cost_usd):
        self.settled.append(cost_usd)

    async def dispatch(self, candidates, call, timeout_ms, deadline, trail):
        await self._held("dispatch")
        body = a_completion()
        return candidates[0], Completion(body, "deepseek-v4-flash", Usage(10, 5), None)

    async def record(self, event):
        await self._held("record")
        self.events.append(event)
        return "firehose"


class Held:
    left_usd = Decimal(1)


@pytest.mark.parametrize(
    ("at", "status"),
    [("reserve", None), ("dispatch", 499), ("keep", 200), ("remember", 200), ("record", 200)],
)
async def test_nothing_is_lost_wherever_the_caller_leaves(at, status):
    parts = Parts(at)
    policy = a_policy()
    verdicts = Verdicts(policy.version, Scoring(parts, 5.0), parts)
    judge = Judge(policy, verdicts, ("tokenmix",))
    router = Router(policy, judge, parts, parts, parts, parts, ("tokenmix",))
    asked = Asked(
        parse_chat(raw(a_chat())), a_caller(daily_usd=1), Bounds(), None, 0.0, 60.0, alone=True
    )
    running = asyncio.create_task(router.complete(asked))
    await parts.reached.wait()
    running.cancel()
    await asyncio.sleep(0)
    parts.go.set()
    await asyncio.wait({running})
    await router.close()
    assert [event.status for event in parts.events] == ([] if status is None else [status])
    assert len(parts.settled) == 1
    assert (parts.settled[0] == 0) is (status != 200)


async def test_a_bug_of_ours_in_a_stream_is_no_caller_that_left():
    class Upstream:
        async def chunks(self):
            yield Chunk("{}", {})

        async def close(self):
            pass

    class Faulty(ChatFrames):
        def chunk(self, chunk):
            raise RuntimeError

    said = []

    async def settle(status):
        said.append(status)

    relay = Relay(None, None, Upstream(), None, None, None, settle)
    with pytest.raises(RuntimeError):
        [frame async for frame in relay.frames(Faulty(False))]
    await relay.end()
    assert said == [500]
