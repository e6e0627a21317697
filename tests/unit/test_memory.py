"""What is remembered of prompts: in the process, and in a table that other processes share."""

import json
import time
from dataclasses import replace

import boto3
import pytest

from fareway.aws import Aws
from fareway.cache import cache_key, prompt_hash
from fareway.decisions import Decisions, Remembered
from fareway.escalate import Session
from fareway.fingerprint import fingerprint
from fareway.memory import Entry, Memory
from fareway.sessions import Sessions
from tests.builders import a_chat, a_verdict

HOUR = 3600
PROMPT = "Hello, my order 1234 has not arrived. Can you tell me where my new shoes are now?"
REPEATED = "hello!! my order 98 has not arrived. can you tell me where my new shoes are now please"


def an_entry(complexity=4, **fields):
    return Entry(a_verdict(complexity, 0.3), time.time() + HOUR, **fields)


async def exact(memory, key="k"):
    return (await memory.recall(key, None, None)).exact


async def test_what_one_process_learned_the_next_one_knows(sdk, table):
    name, entry = (
        table("cache", "key"),
        replace(an_entry(), expires_at=float(int(time.time()) + 60)),
    )
    assert await Memory(sdk, name, budget_s=20).keep("k", None, entry)
    other = Memory(sdk, name, budget_s=20)
    assert other.get_local("k") is None
    assert await exact(other) == entry
    assert other.get_local("k") == entry


async def test_a_complexity_that_a_teacher_named_is_kept_as_such(sdk, table):
    name, named = table("cache", "key"), replace(a_verdict(4), complexity=2)
    await Memory(sdk, name, budget_s=20).keep("k", None, replace(an_entry(), verdict=named))
    assert (await exact(Memory(sdk, name, budget_s=20))).verdict == named


async def test_an_expired_entry_is_a_miss_though_it_is_still_there(sdk, table):
    memory = Memory(sdk, table("cache", "key"), budget_s=20)
    await memory.keep("k", None, an_entry())
    memory.now = lambda: time.time() + 2 * HOUR
    assert memory.get_local("k") is None
    assert await exact(memory) is None


async def test_a_process_asks_the_table_again_after_a_minute(sdk, table):
    memory = Memory(sdk, table("cache", "key"), budget_s=20)
    await memory.keep("k", None, an_entry())
    memory.now = lambda: time.time() + 61
    assert memory.get_local("k") is None
    assert await exact(memory) is not None


async def test_without_a_table_the_process_goes_on_knowing(sdk):
    memory = Memory(sdk)
    await memory.keep("k", None, an_entry())
    memory.now = lambda: time.time() + 61
    assert memory.get_local("k") is not None


async def test_a_missing_table_is_a_miss_and_no_failure(sdk, logged):
    memory = Memory(sdk, "not-there", "neither", budget_s=20)
    assert (await memory.recall("k", None, "s")).failed
    assert not await memory.keep("k", None, an_entry())
    assert memory.get_local("k") is not None
    assert {line["message"] for line in logged()} == {"memory read failed", "memory write failed"}


class Throttled(Aws):
    """A DynamoDB that answers a batch of writes with 200, and has written none of it."""

    async def client(self, _):
        return self

    async def batch_write_item(self, RequestItems):
        return {"UnprocessedItems": RequestItems}


async def test_writes_that_a_throttled_table_left_undone_are_failures(logged):
    assert not await Memory(Throttled(), "cache", budget_s=2).keep("k", None, an_entry())
    one = Remembered("dec_1", {}, completion_id="chatcmpl-1")
    assert not await Decisions(Throttled(), "decisions", 2).keep("acme", one)
    assert [line["error"] for line in logged()] == ["UnprocessedItems"] * 2


async def test_an_unreachable_table_is_a_miss(sdk, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    unreachable = Aws()
    assert (await Memory(unreachable, "cache", budget_s=2).recall("k", None, None)).failed
    await unreachable.close()


@pytest.mark.parametrize(
    "damage",
    [
        {"verdict": {"S": "{}"}},
        {"verdict": {"S": "no"}},
        {"raised": {"S": "heaven"}, "raised_until": {"N": "9999999999"}},
        {"expires_at": {"S": "soon"}},
    ],
)
async def test_a_damaged_entry_is_a_miss(sdk, table, damage):
    name = table("cache", "key")
    item = {"key": {"S": "k"}, "expires_at": {"N": "9999999999"}} | damage
    boto3.client("dynamodb").put_item(TableName=name, Item=item)
    recalled = await Memory(sdk, name, budget_s=20).recall("k", None, None)
    assert (recalled.exact, recalled.failed) == (None, False)


async def test_the_process_keeps_the_latest_only(sdk):
    memory = Memory(sdk, size=2)
    for key in "abc":
        await memory.keep(key, None, an_entry())
    assert [memory.get_local(key) is None for key in "abc"] == [True, False, False]


@pytest.mark.parametrize("shared", [True, False])
async def test_a_derivative_finds_the_entry_and_another_question_does_not(sdk, table, shared):
    name = table("cache", "key") if shared else ""
    memory = Memory(sdk, name, budget_s=20)
    await memory.keep("k", fingerprint(PROMPT, "p", b""), an_entry())
    reader = Memory(sdk, name, budget_s=20) if shared else memory
    for text, partition, found in [
        (REPEATED, "p", True),
        (REPEATED, "another tenant", False),
        (REPEATED.replace("shoes", "guns"), "p", False),
    ]:
        recalled = await reader.recall("other", fingerprint(text, partition, b""), None)
        assert (recalled.derivative is not None) is found


async def test_all_that_a_request_wants_to_know_comes_in_one_call(sdk, table):
    name, sessions = table("cache", "key"), table("sessions", "session")
    await Memory(sdk, name, sessions, budget_s=20).keep(
        "k", fingerprint(PROMPT, "p", b""), an_entry()
    )
    await Sessions(sdk, sessions, 20).change("s", lambda s: replace(s, floor="mid"), Session())
    client, calls = await sdk.client("dynamodb"), []
    client.meta.events.register("before-call.*", lambda model, **_: calls.append(model.name))
    recalled = await Memory(sdk, name, sessions, budget_s=20).recall(
        "other", fingerprint(REPEATED, "p", b""), "s"
    )
    assert recalled.derivative.verdict == a_verdict(4, 0.3)
    assert recalled.session.floor == "mid"
    assert calls == ["BatchGetItem"]


async def test_no_prompt_is_stored(sdk, table):
    name = table("cache", "key")
    hashed = prompt_hash("acme", a_chat("a very secret prompt about my new shoes"))
    told = fingerprint("a very secret prompt about my new shoes", "p", b"")
    await Memory(sdk, name, budget_s=20).keep(cache_key(hashed, "p", "c"), told, an_entry())
    items = json.dumps(boto3.client("dynamodb").scan(TableName=name)["Items"])
    assert "secret" not in items
    assert "shoes" not in items


async def test_a_budget_too_short_for_the_first_client_is_not_one_for_ever(sdk, table):
    name = table("cache", "key")
    await Memory(sdk, name, budget_s=20).keep("k", None, an_entry())
    fresh = Aws()
    for _ in range(100):
        if await exact(Memory(fresh, name, budget_s=0.05)):
            break
    else:
        pytest.fail("no read ever got through")
    await fresh.close()
