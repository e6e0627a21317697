"""Dispatch against a scripted upstream; its clock moves only when something takes time."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from fareway.aws import Aws
from fareway.breaker import Breakers
from fareway.circuits import Circuits
from fareway.decide import Candidate
from fareway.dispatch import Dispatcher, Trail
from fareway.errors import AllCandidatesFailed, ProviderError, UpstreamRejected
from fareway.policy_tables import Attempts
from fareway.providers.aggregator import Aggregator
from tests.answering import Answering, cut, refused, stalled
from tests.builders import a_chat, a_completion, a_policy

RULES = Attempts(
    tries=2,
    backoff_ms=100,
    timeout_ms=20_000,
    first_token_ms=15_000,
    inter_chunk_ms=15_000,
    retry_after_max_ms=2_000,
    breaker_failures=3,
    breaker_cooldown_ms=15_000,
)


def ok(model):
    return httpx.Response(200, json=a_completion(model))


def status(code, headers=None, **kwargs):
    return lambda _: httpx.Response(code, headers=headers, **kwargs)


class World:
    """Two aggregators with a script each: what the next calls of a model meet."""

    def __init__(self, **scripts):
        self.now = 100.0
        self.slept = []
        self.calls = []
        self.scripts = {name: list(script) for name, script in scripts.items()}
        breakers = Breakers(RULES.breaker_failures, RULES.breaker_cooldown_ms / 1000)
        self.circuits = Circuits(breakers, Aws(), clock=lambda: self.now)
        client = Answering(self.answer)
        self.dispatcher = Dispatcher(
            {n: Aggregator(n, f"http://{n}/v1", f"key-{n}", client, {}) for n in ("one", "two")},
            RULES,
            self.circuits,
            clock=lambda: self.now,
            sleep=self.sleep,
            jitter=lambda: 1.0,
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request):
        model = json.loads(request.content)["model"]
        name = f"{request.url.host}_{model}"
        self.calls.append(name)
        script = self.scripts.get(name) or self.scripts.get(request.url.host, [])
        return script.pop(0)(model) if script else ok(model)

    async def run(self, *names, seconds=30.0):
        self.trail = Trail()
        pairs = [name.split("_") for name in names]
        candidates = [Candidate(a, model, model, "cheap", None) for a, model in pairs]

        async def call(aggregator, candidate, timeout_s):
            return await aggregator.complete(candidate.id, a_chat(), timeout_s)

        return await self.dispatcher.dispatch(
            candidates, call, RULES.timeout_ms, self.now + seconds, self.trail
        )


async def test_the_first_candidate_answers():
    world = World()
    candidate, completion = await world.run("one_a", "one_b")
    assert (candidate.name, completion.served_model) == ("one/a", "a")
    assert world.calls == ["one_a"]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(status(408), id="408"),
        pytest.param(status(429), id="429"),
        pytest.param(status(500), id="500"),
        pytest.param(status(502, text="<html>Bad gateway</html>"), id="502 html"),
        pytest.param(status(503), id="503"),
        pytest.param(refused, id="refused"),
        pytest.param(cut, id="cut"),
        pytest.param(status(200, text="not json"), id="200 no json"),
        pytest.param(status(200, json={"choices": []}), id="200 no choices"),
        pytest.param(
            status(200, json={"error": {"code": 503, "message": "overloaded"}}), id="200 error"
        ),
    ],
)
async def test_a_fault_of_the_moment_is_tried_again_after_a_wait(fault):
    world = World(one_a=[fault])
    candidate, _ = await world.run("one_a", "one_b")
    assert candidate.name == "one/a"
    assert world.calls == ["one_a", "one_a"]
    assert world.slept == [0.1]


async def test_then_the_next_model_and_then_the_next_aggregator():
    world = World(one=[status(500)] * 4)
    candidate, _ = await world.run("one_a", "one_b", "two_a")
    assert candidate.name == "two/a"
    assert world.calls == ["one_a", "one_a", "one_b", "one_b", "two_a"]
    assert world.trail.passed_over == ["one/a", "one/b"]


async def test_an_aggregator_that_is_down_is_left_as_a_whole():
    world = World(one=[refused] * 9)
    candidate, _ = await world.run("one_a", "one_b", "one_c", "two_a")
    assert candidate.name == "two/a"
    assert world.calls == ["one_a", "one_a", "two_a"]


@pytest.mark.parametrize("code", [401, 402])
async def test_our_account_at_an_aggregator_is_not_the_callers_fault(code):
    world = World(one=[status(code, json={"error": {"message": "no credit", "code": code}})])
    candidate, _ = await world.run("one_a", "one_b", "two_a")
    assert candidate.name == "two/a"
    assert world.calls == ["one_a", "two_a"]


async def test_retry_after_is_honoured():
    world = World(one_a=[status(429, {"retry-after": "1.5"})])
    await world.run("one_a", "two_a")
    assert world.slept == [1.5]


async def test_a_long_retry_after_means_elsewhere():
    world = World(one_a=[status(429, {"retry-after": "60"})])
    candidate, _ = await world.run("one_a", "two_a")
    assert candidate.name == "two/a"
    assert world.slept == []


@pytest.mark.parametrize("code", [400, 413, 422])
async def test_the_callers_fault_is_returned_and_not_retried(code):
    error = {"message": "max_tokens is too large", "param": "max_tokens", "code": 7}
    world = World(one_a=[status(code, json={"error": error})])
    with pytest.raises(UpstreamRejected) as caught:
        await world.run("one_a", "two_a")
    assert world.calls == ["one_a"]
    assert caught.value.status == code
    assert caught.value.body()["error"]["param"] == "max_tokens"
    assert caught.value.body()["error"]["code"] == "7"


async def test_a_field_that_one_model_does_not_know_is_no_fault_of_the_callers():
    world = World(one_a=[status(400, json={"error": {"message": "Unknown name: top_k"}})])
    candidate, _ = await world.run("one_a", "two_a", "one_b")
    assert candidate.name == "one/b"
    assert world.calls == ["one_a", "one_b"]


async def test_what_two_models_reject_is_the_callers_fault_in_the_first_ones_words():
    first, second = ({"error": {"message": f"{n} does not like it"}} for n in "ab")
    world = World(one_a=[status(422, json=first)], one_b=[status(400, json=second)])
    with pytest.raises(UpstreamRejected) as caught:
        await world.run("one_a", "one_b", "one_c")
    assert (caught.value.status, caught.value.message) == (422, "a does not like it")
    assert world.calls == ["one_a", "one_b"]


async def test_a_rejection_stands_where_the_other_model_is_down():
    world = World(one_a=[status(400, json={"error": {"message": "no"}})], two=[status(500)] * 9)
    with pytest.raises(UpstreamRejected):
        await world.run("one_a", "two_b")


async def test_a_stall_goes_to_the_next_candidate_at_once():
    world = World(one_a=[stalled])
    candidate, _ = await world.run("one_a", "two_a")
    assert candidate.name == "two/a"
    assert world.slept == []


async def test_nothing_is_begun_after_the_deadline():
    world = World(one=[status(429, {"retry-after": "1.9"})] * 9, two=[status(500)] * 9)
    with pytest.raises(AllCandidatesFailed):
        await world.run("one_a", "two_a", seconds=1.0)
    assert world.now <= 101.0


@pytest.mark.parametrize(
    ("told", "seconds"), [("7", 7), ("0", 1), ("Wed, 21 Oct 2015 07:28:00 GMT", 1), ("soon", 1)]
)
async def test_all_rate_limited_is_a_429_that_says_when(told, seconds):
    limited = status(429, {"retry-after": told})
    world = World(one=[limited] * 9, two=[limited] * 9)
    with pytest.raises(AllCandidatesFailed) as caught:
        await world.run("one_a", "two_a")
    assert (caught.value.status, caught.value.retry_after_s) == (429, seconds)


async def test_all_down_is_a_502():
    world = World(one=[refused] * 9, two=[status(500)] * 9)
    with pytest.raises(AllCandidatesFailed) as caught:
        await world.run("one_a", "two_a")
    assert caught.value.status == 502
    assert "unreachable" in caught.value.message


async def test_a_breaker_opens_and_the_candidate_rests():
    world = World(one=[status(500)] * 99)
    for _ in range(2):
        await world.run("one_a", "two_a")
    world.calls.clear()
    await world.run("one_a", "two_a")
    assert world.calls == ["two_a"]
    assert world.trail.passed_over == ["one/a"]


async def test_after_the_cooldown_one_probe_closes_it():
    world = World(one=[status(500)] * 4)
    for _ in range(2):
        await world.run("one_a", "two_a")
    world.now += 16
    candidate, _ = await world.run("one_a", "two_a")
    assert candidate.name == "one/a"


async def test_when_all_rest_a_try_beats_a_certain_failure():
    world = World(one=[status(500)] * 4)
    for _ in range(2):
        with pytest.raises(AllCandidatesFailed):
            await world.run("one_a")
    candidate, _ = await world.run("one_a")
    assert candidate.name == "one/a"


async def test_the_request_goes_upstream_as_it_came():
    seen = {}

    def look(request):
        seen.update(body=json.loads(request.content), headers=request.headers)
        return ok("x")

    client = Answering(look)
    aggregator = Aggregator("one", "http://one/v1/", "sk-1", client, {"X-Title": "Fareway"})
    chat = a_chat(seed=7, tools=[], vendor={"a": 1}, stream=True, stream_options={})
    await aggregator.complete("vendor/m", chat, 5)
    assert seen["body"] == {**a_chat(seed=7, tools=[], vendor={"a": 1}), "model": "vendor/m"}
    assert seen["headers"]["authorization"] == "Bearer sk-1"
    assert seen["headers"]["x-title"] == "Fareway"


class Hedging:
    """Two candidates that answer, or fail, when they are let; `hedge_ms` is over at once."""

    def __init__(self, hedge_ms=1):
        self.world = World()
        self.world.dispatcher.rules = RULES.model_copy(update={"hedge_ms": hedge_ms, "tries": 1})
        self.asked, self.cancelled, self.closed = [], [], []
        self.may = {"a": asyncio.Event(), "b": asyncio.Event()}
        self.fails = set()

    async def call(self, aggregator, candidate, timeout_s):
        self.asked.append(candidate.model)
        try:
            await self.may[candidate.model].wait()
        except asyncio.CancelledError:
            self.cancelled.append(candidate.model)
            raise
        if candidate.model in self.fails:
            raise ProviderError("status_500", status=500)
        return candidate.model

    def trail_names(self):
        trail = getattr(self, "trail", None)
        return [] if trail is None else [a.candidate[-1] for a in trail.attempts]

    async def run(self):
        self.trail = Trail()
        candidates = [Candidate(n, m, m, "cheap", None) for n, m in (("one", "a"), ("two", "b"))]
        return await self.world.dispatcher.dispatch(
            candidates, self.call, 20_000, self.world.now + 30, self.trail
        )


async def test_hedged_the_second_is_asked_once_the_first_is_late_and_the_faster_answers():
    hedging = Hedging()
    hedging.may["b"].set()
    candidate, answer = await hedging.run()
    assert (candidate.model, answer) == ("b", "b")
    assert (hedging.asked, hedging.cancelled) == (["a", "b"], ["a"])
    assert {(a.candidate, a.outcome) for a in hedging.trail.attempts} == {
        ("one/a", "cancelled"),
        ("two/b", "ok"),
    }


async def test_hedged_a_first_that_is_in_time_is_alone():
    hedging = Hedging(hedge_ms=10_000)
    hedging.may["a"].set()
    assert (await hedging.run())[1] == "a"
    assert hedging.asked == ["a"]


async def test_hedged_the_slower_answers_where_the_faster_failed():
    hedging = Hedging()
    hedging.fails = {"b"}
    hedging.may["b"].set()
    running = asyncio.create_task(hedging.run())
    while "b" not in hedging.trail_names():
        await asyncio.sleep(0)
    hedging.may["a"].set()
    assert (await running)[1] == "a"


async def test_hedged_both_may_fail():
    hedging = Hedging()
    hedging.fails = {"a", "b"}
    for may in hedging.may.values():
        may.set()
    with pytest.raises(AllCandidatesFailed):
        await hedging.run()


@pytest.mark.parametrize("hedge_ms", [1, 10_000], ids=["two run", "one runs"])
async def test_hedged_a_caller_that_leaves_ends_all_that_runs(hedge_ms):
    hedging = Hedging(hedge_ms)
    running = asyncio.create_task(hedging.run())
    while len(hedging.asked) < (2 if hedge_ms == 1 else 1):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    assert hedging.cancelled == hedging.asked


async def test_by_default_nothing_is_hedged():
    assert a_policy().attempts.hedge_ms == 0
