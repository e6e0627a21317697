"""Requests per minute, counted in DynamoDB."""

import asyncio

import boto3
import pytest

from fareway.errors import RateLimited
from fareway.rate import Rate, Rates
from tests.builders import a_caller

NOON = 1_795_694_400.0  # 2026-11-26 12:00:00 UTC


@pytest.fixture
def rates(sdk, table):
    return Rates(sdk, table("spend", "counter"), budget_s=30, now=lambda: NOON + 18)


async def test_the_limit_holds_and_the_next_minute_is_new(rates):
    caller = a_caller(requests_per_minute=2)
    assert await rates.admit(caller) == Rate(2, 1, 42.0)
    assert await rates.admit(caller) == Rate(2, 0, 42.0)
    with pytest.raises(RateLimited) as caught:
        await rates.admit(caller)
    assert caught.value.retry_after_s == 42.0
    assert caught.value.headers["x-ratelimit-remaining-requests"] == "0"
    rates.now = lambda: NOON + 60
    assert await rates.admit(caller) == Rate(2, 1, 60.0)


async def test_requests_at_one_time_do_not_pass_the_limit_together(rates):
    caller = a_caller(requests_per_minute=20)
    answers = await asyncio.gather(
        *(rates.admit(caller) for _ in range(60)), return_exceptions=True
    )
    assert sum(isinstance(a, RateLimited) for a in answers) == 40
    assert sorted(a.remaining for a in answers if isinstance(a, Rate)) == list(range(20))


async def test_each_key_has_a_rate_of_its_own(rates):
    await rates.admit(a_caller("k1", requests_per_minute=1))
    await rates.admit(a_caller("k2", requests_per_minute=1))
    with pytest.raises(RateLimited):
        await rates.admit(a_caller("k1", requests_per_minute=1))


async def test_a_key_without_a_rate_costs_no_call(unreachable, logged):
    assert await Rates(unreachable, "spend").admit(a_caller(daily_usd=1)) is None
    assert await Rates(unreachable, "").admit(a_caller(requests_per_minute=1)) is None
    assert logged() == []


async def test_a_table_that_is_down_lets_requests_pass_and_says_so(unreachable, logged):
    rates = Rates(unreachable, "spend", budget_s=30)
    assert await rates.admit(a_caller(requests_per_minute=1)) is None
    assert [line["message"] for line in logged()] == ["rate not counted"]


async def test_the_minutes_are_forgotten(rates):
    await rates.admit(a_caller(requests_per_minute=1))
    (item,) = boto3.client("dynamodb").scan(TableName="spend")["Items"]
    assert NOON + 60 < int(item["expires_at"]["N"]) < NOON + 3600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0052, "6ms"), (0.9995, "1s"), (1.0, "1s"), (16.2, "17s"), (59.01, "1m0s"), (60, "1m0s")],
)
def test_durations_are_written_as_openai_does(seconds, text):
    assert Rate(9, 8, seconds).headers() == {
        "x-ratelimit-limit-requests": "9",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": text,
    }
