"""Sessions' states in a table that several processes write."""

import asyncio
import json
import time
from dataclasses import asdict, replace

import boto3
import pytest

from fareway.escalate import Answered, Session
from fareway.memory import Memory
from fareway.sessions import Sessions

FULL = Session(
    floor="mid",
    calm=1,
    at=1_800_000_000.5,
    turn="t" * 32,
    last=Answered("dec_1", "cheap", "tokenmix", "deepseek-v4-flash", 10, 20, 5, 1.5),
    counted=("dec_0",),
)


async def read(sdk, table, key="s"):
    return (await Memory(sdk, "", table, budget_s=2).recall(None, None, key)).session


async def test_a_state_is_read_as_it_was_written(sdk, table):
    sessions = Sessions(sdk, table("sessions", "session"), 20)
    await sessions.change("s", lambda _: FULL, Session())
    assert await read(sdk, "sessions") == replace(FULL, version=1)
    assert await read(sdk, "sessions", "other") is None


async def test_concurrent_changes_are_all_counted(sdk, table):
    sessions = Sessions(sdk, table("sessions", "session"), 5)

    def one_more(session):
        return replace(session, calm=session.calm + 1)

    for _ in range(3):  # each round with a stale state in hand
        await asyncio.gather(*(sessions.change("s", one_more, Session()) for _ in range(3)))
    assert (await read(sdk, "sessions")).calm == 9


@pytest.mark.parametrize(
    "damage",
    [
        {"state": {"S": "no"}},
        {"state": {"S": "{}"}},
        {"expires_at": {"N": "1"}},
        {"state": {"S": json.dumps(asdict(FULL) | {"floor": "heaven"})}},
        {"state": {"S": json.dumps(asdict(FULL) | {"at": "noon"})}},
        {"state": {"S": json.dumps(asdict(FULL) | {"last": asdict(FULL.last) | {"tier": "no"}})}},
    ],
)
async def test_a_damaged_or_old_state_is_written_over(sdk, table, damage):
    sessions = Sessions(sdk, table("sessions", "session"), 20)
    await sessions.change("s", lambda _: FULL, Session())
    client = boto3.client("dynamodb")
    item = client.get_item(TableName="sessions", Key={"session": {"S": "s"}})["Item"]
    client.put_item(TableName="sessions", Item=item | damage)
    found = await read(sdk, "sessions")
    assert found == Session(version=1)
    assert await sessions.change("s", lambda s: replace(s, floor="premium"), found)
    assert (await read(sdk, "sessions")).floor == "premium"


async def test_a_table_that_is_not_there_costs_the_memory_alone(sdk, logged):
    assert await Sessions(sdk, "not-there", 2).change("s", lambda s: s) is None
    assert logged()[0]["message"] == "session write failed"
    assert await Sessions(sdk, "").change("s", lambda s: s) is None


async def test_states_go_a_day_after_the_last_turn(sdk, table):
    await Sessions(sdk, table("sessions", "session"), 20).change("s", lambda _: FULL, Session())
    (item,) = boto3.client("dynamodb").scan(TableName="sessions")["Items"]
    assert 0 <= time.time() + 24 * 3600 - int(item["expires_at"]["N"]) < 60
    assert "Answered" not in json.dumps(item)
