"""Budgets in DynamoDB: reserved before the call, settled after it."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import boto3
import pytest

from fareway.budget import Budgets, spent_usd
from fareway.errors import BudgetExceeded
from tests.builders import a_caller

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
NEXT_DAY = datetime(2026, 11, 27, 12, tzinfo=UTC)
NEXT_MONTH = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)


@pytest.fixture
def budgets(sdk, table):
    return Budgets(sdk, table("spend", "counter"), budget_s=30, now=NOON.timestamp)


def spent(at=NOON, key_id="k1"):
    """(on the day, in the month), USD, as floats that are easy to compare."""
    return tuple(map(float, spent_usd(boto3.client("dynamodb"), "spend", key_id, at)))


async def refused(budgets, caller, usd):
    with pytest.raises(BudgetExceeded) as caught:
        await budgets.reserve(caller, Decimal(str(usd)))
    return caught.value


async def test_an_estimate_counts_until_the_cost_takes_its_place(budgets):
    held = await budgets.reserve(a_caller(daily_usd=1, monthly_usd=10), Decimal("0.4"))
    assert (spent(), held.left_usd) == ((0.4, 0.4), Decimal("0.6"))
    await budgets.settle(held, Decimal("0.000000001"))
    assert spent() == (1e-9, 1e-9)


@pytest.mark.parametrize(
    ("cost", "counted"),
    [
        pytest.param(Decimal(0), 0.0, id="nothing was answered"),
        pytest.param(None, 0.4, id="not known: the estimate stands"),
        pytest.param(Decimal("1.5"), 1.5, id="more than estimated"),
    ],
)
async def test_every_end_of_a_call_is_settled(budgets, cost, counted):
    await budgets.settle(await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4")), cost)
    assert spent() == (counted, counted)


async def test_settling_twice_counts_once(budgets):
    held = await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4"))
    for _ in range(2):
        await budgets.settle(held, Decimal("0.1"))
    held.settled = False  # as if the SDK had sent the write twice
    await budgets.settle(held, Decimal("0.1"))
    assert spent() == (0.1, 0.1)


async def test_what_does_not_fit_is_refused_and_not_counted(budgets):
    caller = a_caller(daily_usd=1)
    await budgets.reserve(caller, Decimal("0.7"))
    error = await refused(budgets, caller, "0.300000001")
    assert error.left_usd == Decimal("0.3")
    assert spent() == (0.7, 0.7)
    held = await budgets.reserve(caller, Decimal("0.3"))
    assert held.left_usd == 0


@pytest.mark.parametrize("fresh", [True, False])
async def test_an_estimate_above_the_whole_budget_is_refused(budgets, fresh):
    caller = a_caller(daily_usd=1)
    if not fresh:
        await budgets.reserve(caller, Decimal("0.1"))
    assert (await refused(budgets, caller, 2)).left_usd == Decimal(1 if fresh else "0.9")


async def test_both_budgets_must_have_room_or_neither_counts(budgets):
    caller = a_caller(daily_usd=5, monthly_usd=6)
    await budgets.settle(await budgets.reserve(caller, Decimal(4)), Decimal(4))
    budgets.now = NEXT_DAY.timestamp
    error = await refused(budgets, caller, 3)
    assert "monthly budget of 6 USD has 2 USD left" in error.message
    assert "2026-12-01 00:00" in error.message
    assert spent(NEXT_DAY) == (0.0, 4.0)
    budgets.now = NEXT_MONTH.timestamp
    assert (await budgets.reserve(caller, Decimal(3))).left_usd == 2


async def test_a_new_day_is_a_new_daily_budget(budgets):
    caller = a_caller(daily_usd=1)
    await budgets.reserve(caller, Decimal(1))
    assert "2026-11-27 00:00" in (await refused(budgets, caller, "0.1")).message
    budgets.now = NEXT_DAY.timestamp
    await budgets.reserve(caller, Decimal(1))
    assert spent(NEXT_DAY) == (1.0, 2.0)


async def test_a_call_over_midnight_is_settled_on_the_day_that_it_began(budgets):
    held = await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4"))
    budgets.now = NEXT_MONTH.timestamp
    await budgets.settle(held, Decimal("0.1"))
    assert (spent(), spent(NEXT_MONTH)) == ((0.1, 0.1), (0.0, 0.0))


async def test_200_calls_at_one_time_reserve_no_more_than_there_is(budgets):
    caller = a_caller(daily_usd=5, monthly_usd=100)
    held = await asyncio.gather(
        *(budgets.reserve(caller, Decimal("0.1")) for _ in range(200)), return_exceptions=True
    )
    assert sum(isinstance(h, BudgetExceeded) for h in held) == 150
    assert spent() == (5.0, 5.0)
    kept = [h for h in held if not isinstance(h, Exception)]
    await asyncio.gather(*(budgets.settle(h, Decimal("0.04")) for h in kept))
    assert spent() == (2.0, 2.0)
    (item,) = boto3.client("dynamodb").scan(TableName="spend")["Items"]
    assert set(item) == {"counter", "month", "2026-11-26", "expires_at"}  # nothing is left open


async def test_a_degraded_call_is_counted_beyond_the_budget(budgets):
    caller = a_caller(daily_usd=1)
    await budgets.reserve(caller, Decimal(1))
    held = await budgets.reserve(caller, Decimal("0.5"), over=True)
    assert (held.left_usd, spent()) == (0, (1.5, 1.5))


async def test_keys_have_budgets_of_their_own(budgets):
    await budgets.reserve(a_caller("k1", daily_usd=1), Decimal(1))
    await budgets.reserve(a_caller("k2", daily_usd=1), Decimal(1))
    assert spent(key_id="k2") == (1.0, 1.0)


async def test_a_key_without_a_budget_costs_no_call(unreachable, logged):
    caller = a_caller(requests_per_minute=1)
    assert await Budgets(unreachable, "spend").reserve(caller, Decimal(9)) is None
    assert await Budgets(unreachable, "").reserve(a_caller(daily_usd=1), Decimal(9)) is None
    await Budgets(unreachable, "spend").settle(None, Decimal(9))
    assert logged() == []


async def test_a_table_that_is_down_lets_calls_pass_and_says_what_was_not_counted(
    unreachable, logged
):
    budgets = Budgets(unreachable, "spend", budget_s=30)
    held = await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4"))
    assert held.left_usd is None
    await budgets.settle(held, Decimal("0.1"))
    first, second = logged()
    assert first["message"] == "budget not reserved"
    assert second["message"] == "budget not settled"
    assert (second["held_nano_usd"], second["cost_nano_usd"]) == (400_000_000, 100_000_000)


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_reservation_that_nobody_confirmed_still_ends_as_the_cost(budgets, arrived):
    """The answer was lost: whether the table has the estimate or not, it has the cost after."""
    caller = a_caller(daily_usd=1)
    held = await budgets.reserve(caller, Decimal("0.4"))
    held.certain = False
    if not arrived:
        await budgets.settle(held, Decimal(0))
        held.settled = False
    await budgets.settle(held, Decimal("0.1"))
    assert spent() == (0.1, 0.1)


async def test_a_client_that_goes_away_does_not_stop_the_settling(budgets):
    held = await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4"))
    waiting = asyncio.create_task(budgets.settle(held, Decimal("0.1")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await budgets.close()
    assert spent() == (0.1, 0.1)


async def test_a_months_item_is_forgotten_after_the_next(budgets):
    await budgets.reserve(a_caller(daily_usd=1), Decimal("0.4"))
    (item,) = boto3.client("dynamodb").scan(TableName="spend")["Items"]
    gone = datetime.fromtimestamp(int(item["expires_at"]["N"]), UTC)
    assert gone == datetime(2027, 1, 1, tzinfo=UTC)
