import json
import time
from dataclasses import replace

import boto3
import pytest

from fareway.aws import Aws
from fareway.cache import DecisionCache, cache_key, prompt_hash
from tests.builders import a_chat, a_verdict


async def test_what_one_process_learned_the_next_one_knows(sdk, table):
    name = table("cache", "key")
    await DecisionCache(sdk, name, 2).put("k", a_verdict(4, 0.3))
    other = DecisionCache(sdk, name, 2)
    assert other.get_local("k") is None
    assert await other.get("k") == a_verdict(4, 0.3)
    assert other.get_local("k") == a_verdict(4, 0.3)


async def test_a_complexity_that_a_teacher_named_is_kept_as_such(sdk, table):
    name, named = table("cache", "key"), replace(a_verdict(4), complexity=2)
    await DecisionCache(sdk, name, 2).put("k", named)
    assert await DecisionCache(sdk, name, 2).get("k") == named


async def test_an_expired_entry_is_a_miss_though_it_is_still_there(sdk, table):
    cache = DecisionCache(sdk, table("cache", "key"), 2, ttl_s=60)
    await cache.put("k", a_verdict())
    cache.now = lambda: time.time() + 61
    assert cache.get_local("k") is None
    assert await cache.get("k") is None


async def test_a_missing_table_is_a_miss_and_no_failure(sdk, logged):
    cache = DecisionCache(sdk, "not-there", 2)
    assert await cache.get("k") is None
    await cache.put("k", a_verdict())
    assert cache.get_local("k") == a_verdict()
    assert {line["message"] for line in logged()} == {"cache read failed", "cache write failed"}


async def test_an_unreachable_table_is_a_miss(sdk, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    unreachable = Aws()
    assert await DecisionCache(unreachable, "cache", 2).get("k") is None
    await unreachable.close()


async def test_a_damaged_entry_is_a_miss(sdk, table):
    name = table("cache", "key")
    item = {"key": {"S": "k"}, "verdict": {"S": "{}"}, "expires_at": {"N": "9999999999"}}
    boto3.client("dynamodb").put_item(TableName=name, Item=item)
    assert await DecisionCache(sdk, name, 2).get("k") is None


async def test_the_process_keeps_the_latest_only(sdk):
    cache = DecisionCache(sdk, "", 2, size=2)
    for key in "abc":
        await cache.put(key, a_verdict())
    assert [cache.get_local(key) is None for key in "abc"] == [True, False, False]


async def test_no_prompt_is_stored(sdk, table):
    name = table("cache", "key")
    hashed = prompt_hash("acme", a_chat("a very secret prompt"))
    await DecisionCache(sdk, name, 2).put(cache_key(hashed, "p", "c"), a_verdict())
    items = boto3.client("dynamodb").scan(TableName=name)["Items"]
    assert "secret" not in json.dumps(items)


def test_equal_contexts_have_equal_hashes_and_nothing_else_has():
    base = prompt_hash("acme", a_chat("hello"))
    assert base == prompt_hash("acme", a_chat("hello", temperature=0.5, model="fareway/mid"))
    others = [
        prompt_hash("other", a_chat("hello")),
        prompt_hash("acme", a_chat("hello!")),
        prompt_hash("acme", a_chat("hello", tools=[{"type": "function"}])),
        prompt_hash("acme", a_chat("hello", response_format={"type": "json_object"})),
        prompt_hash(
            "acme",
            a_chat(messages=[{"role": "system", "content": "x"}, *a_chat("hello")["messages"]]),
        ),
    ]
    assert base not in others
    assert len(set(others)) == len(others)


def test_a_new_policy_or_classifier_makes_old_entries_unreachable():
    keys = {cache_key("h", "p1", "c1"), cache_key("h", "p2", "c1"), cache_key("h", "p1", "c2")}
    assert len(keys) == 3


async def test_a_budget_too_short_for_the_first_client_is_not_one_for_ever(sdk, table):
    name = table("cache", "key")
    await DecisionCache(sdk, name, 2).put("k", a_verdict())
    fresh = Aws()
    for _ in range(100):
        if await DecisionCache(fresh, name, 0.05).get("k"):
            break
    else:
        pytest.fail("no read ever got through")
    await fresh.close()
