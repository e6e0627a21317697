"""The request's way to its verdict: the classifier beside the cache, within its budget."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fareway.asks import Bounds
from fareway.judge import Judge
from fareway.keys import OneKey
from fareway.memory import Recalled
from fareway.record import Asked
from fareway.scoring import Scoring
from fareway.verdicts import Verdicts
from fareway.wire import parse_chat
from tests.builders import a_chat, a_policy, a_prompt, a_verdict, raw


class FixedScorer:
    version = "test-1"

    def count(self, text):
        return len(text.split())

    def score(self, text):
        return a_verdict(2, 0.2)


class NoMemory:
    remote, secret, ttl_s = False, b"", 60

    def get_local(self, key):
        return None

    async def recall(self, key, prompt, session):
        return Recalled()

    async def keep(self, key, prompt, entry):
        raise AssertionError("nothing is kept where only the decision is asked")


def a_judge(scorer, memory=None, budget_s=5.0):
    verdicts = Verdicts(a_policy().version, Scoring(scorer, budget_s), memory or NoMemory())
    return Judge(a_policy(), verdicts, ("tokenmix",))


async def routed(judge, prompt="Hello"):
    caller = await OneKey("k").caller("Bearer k")
    asked = Asked(parse_chat(raw(a_chat(prompt))), caller, Bounds(), None, 0.0, 60.0)
    return await judge.route(asked)


async def test_a_verdict_that_is_there_counts_however_late_it_is_looked_at():
    """The loop is held up beyond the budget, as by the first use of an AWS client."""
    budget_s = 0.05
    pool = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(pool)
    held_up = threading.Event()

    class Meanwhile(FixedScorer):
        def score(self, text):
            held_up.wait(10)
            return super().score(text)

    class HoldsUpTheLoop(NoMemory):
        async def recall(self, key, prompt, session):
            for _ in range(3):
                await asyncio.sleep(0)  # the scoring begins
            until = time.monotonic() + 2 * budget_s
            held_up.set()
            pool.submit(lambda: None).result()  # the pool's one thread has scored
            while time.monotonic() < until:
                pass
            return Recalled()

    found = await routed(a_judge(Meanwhile(), HoldsUpTheLoop(), budget_s))
    assert found.found.verdict == a_verdict(2, 0.2)


async def test_a_classifier_that_takes_too_long_is_not_waited_for():
    until = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Stuck(FixedScorer):
        def score(self, text):
            asyncio.run_coroutine_threadsafe(until.wait(), loop).result()

    found = await routed(a_judge(Stuck(), budget_s=0.01))
    until.set()
    assert found.found.verdict is None
    assert found.decision.lane == "sensitive"


@pytest.mark.parametrize("alone", [True, False])
async def test_a_request_alone_gets_the_same_verdict(alone):
    verdicts = a_judge(FixedScorer()).verdicts
    found = await verdicts.of(a_prompt(), alone=alone)
    assert found.verdict == a_verdict(2, 0.2)
    assert found.fresh


async def test_a_classifier_that_breaks_while_alone_costs_no_request(logged):
    class Broken(FixedScorer):
        def score(self, text):
            raise RuntimeError

    found = await a_judge(Broken()).verdicts.of(a_prompt(), alone=True)
    assert (found.verdict, found.fresh) == (None, False)
    assert logged()[0]["message"] == "classifier failed"
