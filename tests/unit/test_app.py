"""The app over real parts: the simulated aggregators answer, and only the classifier is fixed."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import httpx
import pytest

from fareway.app import create_app
from fareway.keys import OneKey
from fareway.ledger import LOG_MESSAGE
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.answering import Answering
from tests.builders import a_chat, a_verdict

KEY = {"authorization": "Bearer fw-test"}


class FixedScorer:
    """A classifier whose verdict the prompt itself names: `complexity 3`, `sensitive`, `broken`."""

    version = "test-1"

    def count(self, text):
        return len(text.split())

    def score(self, text):
        if "broken" in text:
            raise RuntimeError("the model broke")
        words = text.split()
        complexity = int(words[words.index("complexity") + 1]) if "complexity" in words else 1
        return a_verdict(complexity, 0.99 if "sensitive" in text else 0.01)


@pytest.fixture(scope="module")
def simulators():
    tokenmix, openrouter = (create_simulator(n, 0) for n in ("tokenmix", "openrouter"))
    with serve(tokenmix) as one, serve(openrouter) as two:
        yield {"tokenmix": one, "openrouter": two}


@pytest.fixture
async def world(simulators, monkeypatch):
    for url in simulators.values():
        httpx.post(f"{url}/_sim/reset").raise_for_status()
    settings = Settings(
        api_key="fw-test",
        upstream_keys={"tokenmix": "k", "openrouter": "k"},
        base_urls={
            "tokenmix": simulators["tokenmix"] + "/v1",
            "openrouter": simulators["openrouter"] + "/api/v1",
        },
    )
    gateway = build(settings)
    gateway.scoring.scorer = FixedScorer()
    transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://fareway", headers=KEY)
    client.gateway = gateway
    client.simulators = simulators
    yield client
    await client.aclose()
    await gateway.close()


async def chat(world, prompt="Hello", headers=None, **fields):
    return await world.post("/v1/chat/completions", json=a_chat(prompt, **fields), headers=headers)


def fail(world, name, **order):
    httpx.post(f"{world.simulators[name]}/_sim/fail", json=order).raise_for_status()


def events(logged):
    return [line["event"] for line in logged() if line["message"] == LOG_MESSAGE]


@pytest.mark.parametrize(
    ("prompt", "tier", "model"),
    [
        ("complexity 1", "cheap", "deepseek"),
        ("complexity 3", "mid", "claude-haiku"),
        ("complexity 5", "premium", "gpt-5"),
        ("complexity 1 but sensitive", "premium", "claude-sonnet"),
    ],
)
async def test_each_prompt_goes_to_its_tier(world, prompt, tier, model):
    response = await chat(world, prompt)
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"]
    assert response.headers["x-fareway-tier"] == tier
    assert model in response.headers["x-fareway-served-model"]


async def test_the_headers_tell_the_cost_that_the_ledger_has(world, logged):
    response = await chat(world)
    (event,) = events(logged)
    assert response.headers["x-fareway-decision-id"] == event["decision_id"]
    assert response.headers["x-fareway-cost-usd"] == event["cost_usd"]
    assert float(response.headers["x-fareway-saving-usd"]) > 0
    assert response.headers["x-fareway-complexity"] == "1"


async def test_the_ledgers_sum_is_the_upstreams_invoice(world, logged):
    for prompt in ("complexity 1", "complexity 3 sensitive", "complexity 5", "complexity 1"):
        await chat(world, prompt, headers={"x-fareway-session": "s"})
    invoice = httpx.get(f"{world.simulators['tokenmix']}/_sim/invoice").json()
    assert sum(Decimal(e["cost_usd"]) for e in events(logged)) == Decimal(invoice["cost_usd"])


async def test_neither_prompt_nor_answer_nor_key_is_logged(world, capsys):
    response = await chat(world, "my unmistakable secret", user="unmistakable user")
    answer = response.json()["choices"][0]["message"]["content"]
    logged = "".join(capsys.readouterr())
    for private in ("unmistakable", answer, "fw-test"):
        assert private not in logged


async def test_a_repeated_prompt_is_not_classified_again(world, logged):
    first, second = await chat(world, "complexity 3"), await chat(world, "complexity 3")
    assert (first.headers["x-fareway-cache"], second.headers["x-fareway-cache"]) == (
        "none",
        "local",
    )
    assert first.headers["x-fareway-tier"] == second.headers["x-fareway-tier"] == "mid"


async def test_a_classifier_that_breaks_costs_money_but_no_request(world, logged):
    response = await chat(world, "broken")
    assert response.status_code == 200
    assert response.headers["x-fareway-tier"] == "premium"
    assert "unclassified" in response.headers["x-fareway-reason"]
    assert events(logged)[0]["p1"] is None


async def test_without_a_classifier_requests_are_answered(world):
    world.gateway.scoring.scorer = None
    assert (await chat(world)).headers["x-fareway-lane"] == "sensitive"
    assert (await world.get("/healthz")).json()["status"] == "degraded"


async def test_a_pinned_tier_and_a_model_of_ones_own(world, logged):
    pinned = await chat(world, "complexity 5", model="fareway/cheap")
    assert pinned.headers["x-fareway-tier"] == "cheap"
    direct = await chat(world, model="gpt-4o-mini")
    assert "gpt-4o-mini" in direct.json()["model"]
    assert "x-fareway-tier" not in direct.headers
    assert [e["lane"] for e in events(logged)] == ["standard", "direct"]


async def test_the_requests_bounds_hold(world):
    low = await chat(world, "complexity 5", {"x-fareway-max-tier": "mid"})
    high = await chat(world, "complexity 1", {"x-fareway-min-tier": "premium"})
    assert (low.headers["x-fareway-tier"], high.headers["x-fareway-tier"]) == ("mid", "premium")


async def test_a_failing_first_aggregator_is_failed_over(world, logged):
    fail(world, "tokenmix", mode="refuse_500")
    response = await chat(world)
    assert response.status_code == 200
    assert response.headers["x-fareway-aggregator"] == "openrouter"
    (event,) = [e for e in events(logged) if e["status"] == 200]
    assert event["failovers"] >= 1


async def test_when_nothing_answers_the_caller_and_the_ledger_are_told(world, logged):
    for name in world.simulators:
        fail(world, name, mode="html_502")
    response = await chat(world)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "all_candidates_failed"
    (event,) = events(logged)
    assert (event["status"], event["cost_usd"]) == (502, None)
    assert response.headers["x-fareway-decision-id"] == event["decision_id"]
    assert response.headers["x-fareway-attempts"] == str(event["attempts"])


async def test_the_callers_fault_upstream_is_passed_on(world, logged):
    fail(world, "tokenmix", mode="400")
    response = await chat(world)
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert events(logged)[0]["attempts"] == 2  # another model did not take it either


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_a_named_model_that_no_upstream_has_is_the_callers_to_mend(world, logged, path):
    gone = Answering(lambda _: httpx.Response(404, json={"error": {"message": "gone"}}))
    world.gateway.router.dispatcher.aggregators = {
        name: replace(one, http=gone)
        for name, one in world.gateway.router.dispatcher.aggregators.items()
    }
    body = a_chat(model="gpt-99") if "chat" in path else {"model": "gpt-99", "input": "x"}
    for _ in range(4):
        response = await world.post(path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (
        404,
        "model",
        "model_not_found",
    )
    assert "gpt-99" in error["message"]
    # the fourth as the first: no breaker opens for a name that a caller made up
    assert [event["attempts"] for event in events(logged)] == [2] * 4
    routed = await chat(world)  # what the policy names is not the caller's
    assert routed.status_code == 502


async def test_a_stream_is_valid_and_ends(world):
    options = {"include_usage": True}
    response = await chat(world, stream=True, stream_options=options)
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.strip().split("\n\n")
    assert frames[-1] == "data: [DONE]"
    assert json.loads(frames[-2][6:])["usage"]["total_tokens"] > 0


async def test_route_decides_without_a_call(world, logged):
    response = await world.post("/v1/route", json={"messages": a_chat("complexity 4")["messages"]})
    told = response.json()
    assert (told["tier"], told["complexity"], told["candidates"][0]["tier"]) == ("mid", 4, "mid")
    assert httpx.get(f"{world.simulators['tokenmix']}/_sim/requests").json() == []
    assert events(logged) == []


async def test_models_lists_the_routed_ones_first(world):
    models = [m["id"] for m in (await world.get("/v1/models")).json()["data"]]
    assert models[:4] == ["fareway/auto", "fareway/cheap", "fareway/mid", "fareway/premium"]
    assert "gpt-5" in models
    for name in models:
        assert (await world.get(f"/v1/models/{name}")).json()["id"] == name
    missing = await world.get("/v1/models/gpt-9")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        pytest.param({"headers": {"authorization": "Bearer no"}}, 401, "API key", id="bad key"),
        pytest.param({"content": b"{"}, 400, "JSON", id="bad JSON"),
        pytest.param({"json": a_chat(messages="x")}, 400, "messages", id="wrong type"),
        pytest.param({"json": a_chat("x" * 5_000_000)}, 413, "limit", id="5 MB"),
        pytest.param(
            {"json": a_chat(messages=[{"role": "user", "content": "x"}] * 2000)},
            400,
            "2000",
            id="2,000 messages",
        ),
        pytest.param({"json": a_chat(model="fareway/best")}, 404, "fareway/auto", id="model"),
        pytest.param(
            {"json": a_chat(), "headers": KEY | {"x-fareway-min-tier": "gold"}},
            400,
            "x-fareway-min-tier",
            id="header",
        ),
    ],
)
async def test_what_a_caller_got_wrong_is_named_in_openais_shape(world, request_, status, says):
    response = await world.post("/v1/chat/completions", **request_)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert says in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/", 404)],
)
async def test_an_unknown_path_is_told_in_the_same_shape(world, method, path, status):
    response = await world.request(method, path)
    assert response.status_code == status
    assert path in response.json()["error"]["message"]


async def test_a_bug_shows_nothing_of_itself(world, monkeypatch, capsys):
    async def explode(self, asked):
        raise ValueError("a secret detail")

    monkeypatch.setattr(type(world.gateway.router), "complete", explode)
    response = await chat(world)
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text + "".join(capsys.readouterr())


async def test_health_needs_no_key(world):
    response = await world.get("/healthz", headers={"authorization": ""})
    assert response.json()["status"] == "ok"
    assert set(response.json()["aggregators"]) == {"tokenmix", "openrouter"}


async def test_a_gateway_without_upstream_keys_says_so():
    gateway = build(Settings(api_key="fw-test"))
    gateway.keys = OneKey("fw-test")
    gateway.scoring.scorer = FixedScorer()
    transport = httpx.ASGITransport(create_app(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://f", headers=KEY) as client:
        response = await client.post("/v1/chat/completions", json=a_chat())
    assert response.status_code == 503
    assert "key" in response.json()["error"]["message"]
    await gateway.close()
