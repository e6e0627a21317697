"""What the lake is given besides events: opinions, and days summed up."""

import json
from datetime import date
from decimal import Decimal

import boto3
import pytest

from fareway.athena import QueryFailed, load_query
from fareway.aws import Aws
from fareway.lake import FeedbackRow
from fareway.opinions import Opinions
from fareway.rollup import Rollup, days_asked
from local.lake import Lake
from tests.builders import an_event

OPINION = FeedbackRow(
    decision_id="dec_1",
    occurred_at="2026-11-24T12:00:00.000+00:00",
    tenant_hash="t" * 16,
    rating="down",
    score=None,
    reason="wrong",
)


@pytest.fixture
def bucket(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="ledger")
    yield "ledger"
    for entry in s3.list_objects_v2(Bucket="ledger").get("Contents", []):
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")


@pytest.fixture
async def sdk(aws):
    sdk = Aws()
    yield sdk
    await sdk.close()


@pytest.fixture
def lake():
    lake = Lake()
    yield lake
    lake.close()


def objects():
    """Key -> the records in it."""
    s3 = boto3.client("s3")
    listed = s3.list_objects_v2(Bucket="ledger").get("Contents", [])
    return {
        entry["Key"]: [
            json.loads(line)
            for line in s3.get_object(Bucket="ledger", Key=entry["Key"])["Body"].iter_lines()
        ]
        for entry in listed
    }


# ---- opinions ----


async def test_an_opinion_is_a_small_object_of_its_day(sdk, bucket):
    assert await Opinions(sdk, bucket).record(OPINION)
    assert objects() == {
        "feedback/dt=2026-11-24/dec_1-down.json": [
            {
                "decision_id": "dec_1",
                "occurred_at": "2026-11-24T12:00:00.000+00:00",
                "tenant_hash": "t" * 16,
                "rating": "down",
                "score": None,
                "reason": "wrong",
            }
        ]
    }


async def test_an_opinion_that_is_sent_again_counts_once(sdk, bucket):
    for _ in range(2):
        await Opinions(sdk, bucket).record(OPINION)
    assert len(objects()) == 1


@pytest.mark.parametrize("name", ["no-such-bucket", ""])
async def test_a_lake_that_takes_no_opinion_harms_nobody(sdk, aws, name, capsys):
    assert not await Opinions(sdk, name).record(OPINION)
    assert ("feedback write failed" in capsys.readouterr().err) == bool(name)


# ---- days summed up ----


def at(time, **fields):
    event = an_event(occurred_at=f"{time}:00.000+00:00", **fields)
    return {**event.record(), "dt": time[:10]}


EVENTS = (
    at("2026-11-23T09:10", decision_id="a"),
    at("2026-11-23T09:50", decision_id="b", cost_usd=None, cost_source=None),
    at("2026-11-24T10:00", decision_id="c", complexity=None, tier=None),
)
DAYS = (date(2026, 11, 23), date(2026, 11, 25))


def test_each_day_is_an_object_and_made_again_it_is_the_same(lake, bucket):
    lake.add("cost_events", EVENTS)
    rollup = Rollup(lake, boto3.client("s3"), bucket)
    assert rollup.make(*DAYS) == {"2026-11-23": 1, "2026-11-24": 1}
    first = objects()
    assert list(first) == [
        "rollup/dt=2026-11-23/rollup.json",
        "rollup/dt=2026-11-24/rollup.json",
    ]
    ((row,), _) = first.values()
    assert (row["hour"], row["requests"], row["unpriced"]) == (9, 2, 1)
    assert (row["cost_usd"], row["baseline_usd"]) == ("0.000450000", "0.006250000")
    rollup.make(*DAYS)
    assert objects() == first


def test_a_late_event_is_in_its_day_once_that_is_made_anew(lake, bucket):
    lake.add("cost_events", EVENTS)
    rollup = Rollup(lake, boto3.client("s3"), bucket)
    rollup.make(*DAYS)
    lake.add("cost_events", [at("2026-11-23T23:00", decision_id="late") | {"dt": "2026-11-25"}])
    assert rollup.make(*DAYS)["2026-11-23"] == 2


def test_a_day_is_made_anew_as_long_as_its_events_count(lake, bucket):
    """The last of them arrives after the third day's last tick."""
    lake.add("cost_events", [at("2026-11-22T23:00", decision_id="late") | {"dt": "2026-11-25"}])
    first_tick_after = days_asked({}, date(2026, 11, 26))
    made = Rollup(lake, boto3.client("s3"), bucket).make(*first_tick_after)
    (totals,) = lake.run(load_query("totals", date(2026, 11, 22), date(2026, 11, 22)))
    assert made == {"2026-11-22": int(totals["requests"])} == {"2026-11-22": 1}


def test_the_pages_query_adds_up_to_the_ledger(lake, bucket):
    lake.add("cost_events", EVENTS)
    Rollup(lake, boto3.client("s3"), bucket).make(*DAYS)
    for key, rows in objects().items():
        lake.add("rollups", [{**row, "dt": key[10:20]} for row in rows])
    rows = lake.run(load_query("summary", *DAYS))
    (totals,) = lake.run(load_query("totals", *DAYS))
    for column in ("requests", "answered", "unpriced", "cost_usd", "baseline_usd"):
        summed = sum(Decimal(row[column] or 0) for row in rows)
        assert summed == Decimal(totals[column]), column
    assert [row["day"] for row in rows] == ["2026-11-23", "2026-11-24"]


def test_when_athena_fails_nothing_is_written(bucket):
    class Broken:
        def run(self, sql):
            raise QueryFailed("Athena: failed: no")

    with pytest.raises(QueryFailed):
        Rollup(Broken(), boto3.client("s3"), bucket).make(*DAYS)
    assert objects() == {}


@pytest.mark.parametrize(
    ("event", "days"),
    [
        ({"source": "aws.events"}, ("2026-11-22", "2026-11-26")),
        ({"from": "2026-11-01"}, ("2026-11-01", "2026-11-26")),
        ({"from": "2026-11-01", "to": "2026-11-02"}, ("2026-11-01", "2026-11-02")),
    ],
)
def test_a_tick_means_the_days_that_may_still_change(event, days):
    first, last = days_asked(event, date(2026, 11, 26))
    assert (first.isoformat(), last.isoformat()) == days
