"""The real `openai` SDK against the deployed stack: API Gateway -> Lambda -> simulated upstreams.

One after the other, on one stack; the ledger's tests at the end count what the others left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import openai
import pytest

from fareway.athena import Athena
from fareway.caller import Allowance
from fareway.keys import create_key
from fareway.ledger import FALLBACK_PREFIX
from fareway.report import report
from fareway.rollup import Rollup
from fareway.savings import PARTS
from local import stack
from local.cloud import aws_env
from tests.builders import an_event


@pytest.fixture(scope="module")
def key(deployed):
    return create_key(deployed.client("dynamodb"), deployed.outputs["KeysTable"], "e2e", "acme")[1]


@pytest.fixture(scope="module")
def sdk(deployed, key):
    with openai.OpenAI(base_url=deployed.base_url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def reset(deployed):
    yield
    for name in stack.SIMULATORS:
        httpx.post(f"{deployed.simulator(name)}/_sim/reset").raise_for_status()


def athena(deployed):
    out = deployed.outputs
    return Athena(deployed.client("athena"), out["AthenaWorkgroup"], out["LedgerDatabase"])


def figures(deployed, expected):
    """The report of today, once Athena sees `expected` requests."""
    today = datetime.now(UTC).date()
    give_up = time.monotonic() + 20
    while True:
        result = report(athena(deployed), today - timedelta(days=1), today)
        if result.requests >= expected or time.monotonic() > give_up:
            return result
        time.sleep(0.3)


def say(sdk, text, **options):
    return sdk.chat.completions.create(
        model=options.pop("model", "fareway/auto"),
        messages=[{"role": "user", "content": text}],
        **options,
    )


def fareway(deployed, *arguments, **kwargs):
    """The command line, as an engineer runs it against the stack."""
    out = deployed.outputs
    env = {
        **os.environ,
        **aws_env(stack.PORT),
        "FAREWAY_KEYS_TABLE": out["KeysTable"],
        "FAREWAY_SPEND_TABLE": out["SpendTable"],
        "FAREWAY_LEDGER_STREAM": out["LedgerStream"],
        "FAREWAY_LEDGER_BUCKET": out["LedgerBucket"],
        "FAREWAY_LEDGER_DATABASE": out["LedgerDatabase"],
        "FAREWAY_ATHENA_WORKGROUP": out["AthenaWorkgroup"],
    }
    command = [sys.executable, "-c", "from fareway.cli import app; app()", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, **kwargs)


def test_an_answer_comes_back_with_its_usage(sdk):
    answer = say(sdk, "What is the capital of France?")
    assert answer.choices[0].message.content
    assert answer.usage.total_tokens > 0


def test_a_second_client_finds_the_decision_in_the_cache(deployed, key):
    with openai.OpenAI(base_url=deployed.base_url, api_key=key) as other:
        raw = other.chat.completions.with_raw_response.create(
            model="fareway/auto",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
        )
    assert raw.headers["x-fareway-cache"] in ("local", "table")
    table = deployed.client("dynamodb").scan(TableName=deployed.outputs["CacheTable"])
    assert table["Count"] >= 1
    assert "France" not in json.dumps(table["Items"])


def test_a_stream_reads_as_one(sdk):
    chunks = list(say(sdk, "Count to three", stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.total_tokens > 0


def test_the_routed_models_are_listed(sdk):
    assert "fareway/auto" in [model.id for model in sdk.models.list()]


@pytest.mark.parametrize(
    ("error", "request_"),
    [
        (openai.BadRequestError, {"text": "x", "temperature": "hot"}),
        (openai.NotFoundError, {"text": "x", "model": "fareway/best"}),
        (openai.APIStatusError, {"text": "x" * 5_000_000}),
    ],
    ids=["wrong type", "unknown fareway model", "5 MB"],
)
def test_the_sdk_raises_its_own_errors(sdk, error, request_):
    with pytest.raises(error) as caught:
        say(sdk, **request_)
    assert 400 <= caught.value.status_code < 500
    assert caught.value.body["message"]


def test_a_bad_key_is_the_sdks_authentication_error(deployed):
    with (
        openai.OpenAI(base_url=deployed.base_url, api_key="fw-no", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        say(client, "hello")


def test_keys_are_created_listed_and_revoked_by_the_command_line(deployed):
    made = fareway(deployed, "keys", "create", "--name", "cli", "--tenant", "acme")
    key = made.stdout.strip()
    with openai.OpenAI(base_url=deployed.base_url, api_key=key) as client:
        assert client.models.list().data
    listed = fareway(deployed, "keys", "list").stdout
    assert "cli" in listed
    assert key not in listed
    key_id = made.stderr.split()[1]
    fareway(deployed, "keys", "revoke", key_id)
    listed = fareway(deployed, "keys", "list").stdout
    row = next(line for line in listed.splitlines() if key_id in line)
    assert row.count(f"{datetime.now(UTC):%Y-}") == 2  # created, revoked


def test_losing_the_first_aggregator_loses_no_request(deployed, sdk, reset):
    httpx.post(f"{deployed.simulator('tokenmix')}/_sim/fail", json={"mode": "drop"})
    for number in range(8):
        assert say(sdk, f"What is {number} plus {number}?").choices
    assert len(httpx.get(f"{deployed.simulator('openrouter')}/_sim/requests").json()) >= 8


def test_losing_firehose_loses_no_event(deployed, sdk):
    """Athena's count = the requests, once the fallbacks have been replayed."""
    before = figures(deployed, 1).requests
    firehose, out = deployed.client("firehose"), deployed.outputs
    stream = out["LedgerStream"]
    described = firehose.describe_delivery_stream(DeliveryStreamName=stream)
    destination = described["DeliveryStreamDescription"]["Destinations"][0]
    firehose.delete_delivery_stream(DeliveryStreamName=stream)
    for number in range(5):
        say(sdk, f"What is {number} times {number}?")
    s3 = deployed.client("s3")
    kept = s3.list_objects_v2(Bucket=out["LedgerBucket"], Prefix=FALLBACK_PREFIX)
    assert kept["KeyCount"] == 5
    firehose.create_delivery_stream(
        DeliveryStreamName=stream,
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            name: value
            for name, value in destination["ExtendedS3DestinationDescription"].items()
            if name
            in (
                "RoleARN",
                "BucketARN",
                "Prefix",
                "ErrorOutputPrefix",
                "CompressionFormat",
                "DataFormatConversionConfiguration",
            )
        },
    )
    assert "replayed 5 events" in fareway(deployed, "replay-events").stderr
    assert figures(deployed, before + 5).requests == before + 5
    assert s3.list_objects_v2(Bucket=out["LedgerBucket"], Prefix=FALLBACK_PREFIX)["KeyCount"] == 0


def test_events_that_only_the_log_has_are_replayed_once(deployed, tmp_path):
    before = figures(deployed, 1).requests
    event = an_event(occurred_at=datetime.now(UTC).isoformat(timespec="milliseconds"))
    line = {"level": "error", "message": "ledger event", "event": event.record()}
    log_file = tmp_path / "lambda.log"
    log_file.write_text(f"START RequestId: x\n{json.dumps(line)}\n")
    for _ in range(2):
        assert "replayed 1 events" in fareway(deployed, "replay-events", str(log_file)).stderr
    assert figures(deployed, before + 1).requests == before + 1


def test_the_report_shows_what_was_saved(deployed):
    printed = fareway(deployed, "report").stdout
    assert "saved" in printed
    totals = figures(deployed, 1).totals
    assert int(totals["answered"]) == int(totals["requests"])
    assert float(totals["baseline_usd"]) > float(totals["cost_usd"]) > 0


def test_an_admin_sees_on_the_savings_page_what_the_report_says(deployed, key):
    reported, out = figures(deployed, 1), deployed.outputs
    rollup = Rollup(athena(deployed), deployed.client("s3"), out["LedgerBucket"])
    rollup.make(reported.first, reported.last)
    admin = create_key(
        deployed.client("dynamodb"), out["KeysTable"], "admin", "acme", Allowance(admin=True)
    )[1]
    root = deployed.base_url.removesuffix("/v1")
    assert "Fareway" in httpx.get(f"{root}/dashboard").raise_for_status().text
    assert httpx.get(f"{root}/dashboard/days.js").raise_for_status().text

    def part(name, key):
        days = {"from": reported.first.isoformat(), "to": reported.last.isoformat()}
        bearer = {"authorization": f"Bearer {key}"}
        url = f"{deployed.base_url}/admin/savings/{name}"
        return httpx.get(url, params=days, headers=bearer, timeout=30)

    told = {name: part(name, admin).raise_for_status().json() for name in PARTS}
    assert told["summary"]["totals"]["requests"] == reported.requests
    assert told["scores"]["rows"]
    assert part("summary", key).status_code == 403
