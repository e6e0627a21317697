"""Votes on a prompt, their quorum, and how long they count."""

import time

import boto3
import pytest

from fareway.corrections import Corrections, Tally
from fareway.policy_tables import Escalation

DAY = 24 * 3600


@pytest.fixture
def corrections(sdk, table):
    return Corrections(sdk, table("cache", "key"), Escalation(), lambda _: None, 20)


async def vote(corrections, voice, *, up=False, bands=(), tier="cheap", days=0):
    corrections.now = lambda: time.time() + days * DAY
    return await corrections.vote("k", bands, tier, voice, up)


def stored(name):
    answer = boto3.client("dynamodb").get_item(TableName="cache", Key={"key": {"S": name}})
    return answer.get("Item", {})


async def test_a_quorum_raises_the_prompt_over_the_tier_that_failed(corrections):
    assert await vote(corrections, "ann") == Tally(1, 0)
    assert await vote(corrections, "ann") == Tally(1, 0)
    assert stored("k") == {}
    assert await vote(corrections, "bob") == Tally(2, 0, "mid")
    assert stored("k")["raised"]["S"] == "mid"


async def test_a_vote_of_long_ago_does_not_count_though_it_is_still_there(corrections):
    await vote(corrections, "ann")
    assert await vote(corrections, "bob", days=8) == Tally(1, 0)
    assert await vote(corrections, "eve", days=8) == Tally(2, 0, "mid")


async def test_votes_do_not_live_on_because_others_vote(corrections):
    for day, voice in enumerate(("ann", "bob", "eve")):
        await vote(corrections, voice, up=True, days=3 * day)
    assert await vote(corrections, "dan", days=8) == Tally(1, 0)
