"""A key's limits as its holder meets them: the app over moto's tables and simulated aggregators."""

import asyncio
import json
import time
from datetime import UTC, datetime
from decimal import Decimal

import boto3
import httpx
import pytest

from fareway.app import create_app
from fareway.budget import spent_usd
from fareway.caller import Allowance
from fareway.keys import create_key, update_key
from fareway.settings import Settings
from fareway.wiring import build
from tests.builders import a_chat
from tests.unit.test_app import FixedScorer, events, simulators  # noqa: F401


@pytest.fixture
async def world(simulators, table):  # noqa: F811
    for url in simulators.values():
        httpx.post(f"{url}/_sim/reset").raise_for_status()
    settings = Settings(
        keys_table=table("keys", "key_hash"),
        spend_table=table("spend", "counter"),
        upstream_keys={"tokenmix": "k", "openrouter": "k"},
        base_urls={
            "tokenmix": simulators["tokenmix"] + "/v1",
            "openrouter": simulators["openrouter"] + "/api/v1",
        },
    )
    gateway = build(settings)
    gateway.scoring.scorer = FixedScorer()
    gateway.keys.budget_s = gateway.rates.budget_s = gateway.budgets.budget_s = 60
    # One minute for the whole test, however long it takes.
    noon = time.time() // 86_400 * 86_400 + 43_200
    gateway.rates.now = gateway.budgets.now = lambda: noon + 18
    transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://fareway/v1", timeout=120)
    client.gateway = gateway
    client.invoice = lambda: sum(
        Decimal(httpx.get(f"{url}/_sim/invoice").json()["cost_usd"]) for url in simulators.values()
    )
    client.fail = lambda **order: [
        httpx.post(f"{url}/_sim/fail", json=order).raise_for_status() for url in simulators.values()
    ]
    yield client
    await client.aclose()
    await gateway.close()


@pytest.fixture
def key(world):
    def make(**allowance):
        dynamodb = boto3.client("dynamodb")
        world.key_id, key = create_key(dynamodb, "keys", "test", "acme", Allowance(**allowance))
        return {"authorization": f"Bearer {key}"}

    return make


async def chat(world, headers, prompt="Hello", **fields):
    return await world.post("/chat/completions", json=a_chat(prompt, **fields), headers=headers)


def spent(world):
    now = datetime.fromtimestamp(world.gateway.rates.now(), UTC)
    return spent_usd(boto3.client("dynamodb"), "spend", world.key_id, now)[0]


def error(response):
    return response.status_code, response.json()["error"]["code"]


async def test_200_requests_at_one_time_spend_no_more_than_the_budget_for_50(world, key, logged):
    """Each is estimated alike and costs less, so at least 50 are let through, and not all."""
    fields = {"model": "fareway/premium", "max_completion_tokens": 100}
    once = await chat(world, key(daily_usd=1), **fields)
    left = Decimal(once.headers["x-fareway-budget-remaining-usd"])
    budget = 50 * (1 - left)
    logged()
    headers, before = key(daily_usd=budget), world.invoice()

    answers = await asyncio.gather(*(chat(world, headers, f"{n}", **fields) for n in range(200)))

    paid = world.invoice() - before
    statuses = [a.status_code for a in answers]
    assert set(statuses) == {200, 402}
    assert statuses.count(200) >= 50
    assert 0 < paid <= budget
    assert spent(world) == paid == sum(Decimal(e["cost_usd"]) for e in events(logged))


async def test_a_used_up_budget_is_told_with_what_and_until_when(world, key):
    headers = key(daily_usd="0.000001")
    response = await chat(world, headers)
    assert error(response) == (402, "budget_exceeded")
    told = response.json()["error"]
    assert told["type"] == "insufficient_quota"
    assert "daily budget of 0.000001 USD" in told["message"]
    assert response.headers["x-fareway-budget-remaining-usd"] == "0.000001"
    assert spent(world) == 0


async def test_what_was_answered_is_counted_and_what_was_not_is_given_back(world, key, logged):
    headers = key(monthly_usd=1)
    response = await chat(world, headers)
    assert spent(world) == Decimal(response.headers["x-fareway-cost-usd"]) > 0
    counted = spent(world)
    world.fail(mode="html_502")
    assert (await chat(world, headers)).status_code == 502
    assert spent(world) == counted


async def test_a_stream_is_counted_too(world, key):
    response = await chat(world, key(daily_usd=1), stream=True)
    assert response.text.endswith("data: [DONE]\n\n")
    assert Decimal(response.headers["x-fareway-budget-remaining-usd"]) < 1
    assert spent(world) == world.invoice() > 0


async def test_a_key_may_be_degraded_instead_of_refused(world, key, logged):
    headers = key(daily_usd="0.000001", over_budget="degrade")
    for fields in ({"prompt": "complexity 5"}, {"prompt": "Hello", "model": "gpt-5"}):
        response = await chat(world, headers, **fields)
        assert response.status_code == 200
        assert response.headers["x-fareway-tier"] == "cheap"
        assert "over budget: degraded to cheap" in response.headers["x-fareway-reason"]
        assert response.headers["x-fareway-budget-remaining-usd"] == "0"
    assert [e["tier"] for e in events(logged)] == ["cheap", "cheap"]
    assert spent(world) == world.invoice()


async def test_the_rate_is_told_on_every_answer_and_held(world, key):
    headers = key(requests_per_minute=3)
    answers = [
        await chat(world, headers),
        await world.post("/chat/completions", content=b"{", headers=headers),
        await world.post("/route", json={"messages": a_chat()["messages"]}, headers=headers),
        await chat(world, headers),
    ]
    assert [a.status_code for a in answers] == [200, 400, 200, 429]
    told = [
        [a.headers[f"x-ratelimit-{n}-requests"] for n in ("limit", "remaining")] for a in answers
    ]
    assert told == [["3", "2"], ["3", "1"], ["3", "0"], ["3", "0"]]
    assert error(answers[-1]) == (429, "rate_limit_exceeded")
    assert answers[-1].headers["retry-after"] == "42"
    assert answers[-1].headers["x-ratelimit-reset-requests"] == "42s"


async def test_a_key_without_limits_has_no_such_headers_and_writes_nothing(world, key):
    response = await chat(world, key())
    assert not [h for h in response.headers if "ratelimit" in h or "budget" in h]
    assert boto3.client("dynamodb").scan(TableName="spend")["Items"] == []


async def test_only_allowed_models_are_answered_and_listed(world, key):
    headers = key(models=["fareway/auto", "gpt-4o-mini"])
    assert error(await chat(world, headers, model="gpt-5")) == (403, "model_not_allowed")
    assert (await chat(world, headers, model="gpt-4o-mini")).status_code == 200
    around = await chat(world, headers, model="gpt-4o-mini", models=["gpt-4o-mini", "gpt-5"])
    assert error(around) == (403, "model_not_allowed")
    listed = (await world.get("/models", headers=headers)).json()["data"]
    assert {m["id"] for m in listed} == {"fareway/auto", "gpt-4o-mini"}


async def test_a_keys_tiers_hold_also_for_the_sensitive_lane(world, key):
    headers = key(tiers=["cheap", "mid"])
    response = await chat(world, headers, "complexity 1 but sensitive")
    assert (response.headers["x-fareway-tier"], response.headers["x-fareway-lane"]) == (
        "mid",
        "sensitive",
    )
    assert "held at the key's highest tier mid" in response.headers["x-fareway-reason"]
    bound = headers | {"x-fareway-min-tier": "premium"}
    assert error(await chat(world, bound)) == (403, "tier_not_allowed")
    assert error(await chat(world, headers, model="gpt-5")) == (403, "model_not_allowed")


async def test_tags_go_to_the_ledger(world, key, logged):
    await chat(world, key(tags={"team": "search"}))
    await chat(world, key())
    tagged, plain = events(logged)
    assert json.loads(tagged["tags"]) == {"team": "search"}
    assert plain["tags"] is None


async def test_a_spend_table_that_is_down_loses_no_request(world, key, logged):
    headers = key(daily_usd=1, requests_per_minute=1)
    boto3.client("dynamodb").delete_table(TableName="spend")
    responses = [await chat(world, headers) for _ in range(2)]
    boto3.client("dynamodb").create_table(
        TableName="spend",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "counter", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "counter", "KeyType": "HASH"}],
    )
    assert [r.status_code for r in responses] == [200, 200]
    assert {line["message"] for line in logged()} >= {
        "rate not counted",
        "budget not reserved",
        "budget not settled",
    }


async def test_a_changed_key_changes_within_a_minute(world, key):
    headers = key(models=["gpt-5"])
    assert (await chat(world, headers)).status_code == 403
    update_key(boto3.client("dynamodb"), "keys", world.key_id, Allowance())
    assert (await chat(world, headers)).status_code == 403
    world.gateway.keys.now = lambda: time.monotonic() + 61
    assert (await chat(world, headers)).status_code == 200
