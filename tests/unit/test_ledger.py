import json
from decimal import Decimal

import boto3
import pytest

from fareway.cost import COLUMNS
from fareway.ledger import FALLBACK_PREFIX, LOG_MESSAGE, Ledger, events_in_log
from tests.builders import an_event


@pytest.fixture
def bucket(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="ledger")
    yield "ledger"
    for entry in s3.list_objects_v2(Bucket="ledger").get("Contents", []):
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")


def test_a_record_has_every_column_and_exact_money():
    record = an_event(cost_usd=Decimal("0.000000123"), baseline_usd=None).record()
    assert list(record) == list(COLUMNS)
    assert (record["cost_usd"], record["baseline_usd"]) == ("0.000000123", None)
    json.dumps(record)


def test_the_saving_of_an_unpriced_event_is_unknown():
    assert an_event().saving_usd == Decimal("0.005800000")
    assert an_event(cost_usd=None).saving_usd is None


async def test_without_firehose_the_event_goes_to_s3(sdk, bucket):
    event = an_event(decision_id="dec_7")
    assert await Ledger(sdk, "no-such-stream", bucket, 2).record(event) == "s3"
    kept = boto3.client("s3").get_object(
        Bucket=bucket, Key=f"{FALLBACK_PREFIX}2026-11-24/dec_7.json"
    )
    assert json.loads(kept["Body"].read()) == event.record()


async def test_a_stream_that_failed_is_left_alone_for_a_while(sdk, bucket):
    clock = [0.0]
    ledger = Ledger(sdk, "late-stream", bucket, 2, clock=lambda: clock[0])
    await ledger.record(an_event())
    firehose = boto3.client("firehose")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="sink")
    firehose.create_delivery_stream(
        DeliveryStreamName="late-stream",
        ExtendedS3DestinationConfiguration={
            "BucketARN": "arn:aws:s3:::sink",
            "RoleARN": "arn:aws:iam::123456789012:role/r",
        },
    )
    assert await ledger.record(an_event()) == "s3"
    clock[0] = 11.0
    assert await ledger.record(an_event()) == "firehose"


async def test_without_s3_too_one_log_line_holds_the_event(sdk, capsys):
    event = an_event()
    assert await Ledger(sdk, "no-such-stream", "no-such-bucket", 2).record(event) == "log"
    lines = capsys.readouterr().err.splitlines()
    assert list(events_in_log(lines)) == [event.record()]


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda line: line, id="as written"),
        pytest.param(lambda line: f"2026-11-24T12:00:00Z\treq-1\t{line}", id="with a prefix"),
        pytest.param(lambda line: json.dumps({"message": line, "timestamp": 1}), id="CloudWatch"),
    ],
)
async def test_events_are_found_however_the_lines_were_exported(sdk, capsys, wrap):
    event = an_event()
    await Ledger(sdk, "", "", 2).record(event)
    lines = [wrap(line) for line in capsys.readouterr().err.splitlines()]
    noise = ["", "{", "not json", '{"message": "ledger event", "event": {"other": 1}}']
    assert list(events_in_log([*noise, *lines])) == [event.record()]


def test_an_event_of_before_a_column_was_added_is_still_found():
    older = {name: value for name, value in an_event().record().items() if name != "tags"}
    line = json.dumps({"message": LOG_MESSAGE, "event": older})
    assert list(events_in_log([line])) == [older]
