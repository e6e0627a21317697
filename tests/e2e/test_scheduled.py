"""The functions that a schedule starts, each invoked as Lambda is, on the deployed stack."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import openai
import pytest

from fareway.athena import Athena, load_query
from fareway.keys import create_key
from fareway.report import report

ASKED = 4


def today():
    return datetime.now(UTC).date()


@pytest.fixture(scope="module")
def athena(deployed):
    return Athena(
        deployed.client("athena"),
        deployed.outputs["AthenaWorkgroup"],
        deployed.outputs["LedgerDatabase"],
    )


@pytest.fixture(scope="module")
def decision_ids(deployed, athena):
    """Some requests, once Athena sees them; the first with a thumb down."""
    dynamodb, table = deployed.client("dynamodb"), deployed.outputs["KeysTable"]
    key = create_key(dynamodb, table, "scheduled", "scheduled")[1]
    ids = []
    with openai.OpenAI(base_url=deployed.base_url, api_key=key, max_retries=0) as sdk:
        for number in range(ASKED):
            raw = sdk.chat.completions.with_raw_response.create(
                model="fareway/auto",
                messages=[{"role": "user", "content": f"How far is it to town {number}?"}],
            )
            ids.append(raw.headers["x-fareway-decision-id"])
    httpx.post(
        f"{deployed.base_url}/feedback",
        json={"decision_id": ids[0], "rating": "down"},
        headers={"authorization": f"Bearer {key}"},
    ).raise_for_status()
    names = ", ".join(f"'{id_}'" for id_ in ids)
    sql = (
        "SELECT DISTINCT decision_id FROM cost_events "
        f"WHERE dt >= '{today() - timedelta(days=1)}' AND decision_id IN ({names})"
    )
    give_up = time.monotonic() + 20
    while len(athena.run(sql)) < ASKED and time.monotonic() < give_up:
        time.sleep(0.3)
    return ids


def invoke(deployed, name, event):
    """A function's answer."""
    answer = deployed.client("lambda").invoke(
        FunctionName=deployed.outputs[name], Payload=json.dumps(event).encode()
    )
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def test_the_rollup_sums_up_what_the_ledger_has(deployed, athena, decision_ids):
    first, last = today() - timedelta(days=1), today()
    made = invoke(deployed, "RollupFunctionName", {})
    assert made[max(made)] >= 1
    again = invoke(
        deployed, "RollupFunctionName", {"from": first.isoformat(), "to": last.isoformat()}
    )
    assert set(again) <= {first.isoformat(), last.isoformat()}
    rows = athena.run(load_query("summary", first, last))
    totals = report(athena, first, last).totals
    for column in ("requests", "answered"):
        assert sum(int(row[column]) for row in rows) == int(totals[column]) >= ASKED
    assert sum(float(row["cost_usd"] or 0) for row in rows) == pytest.approx(
        float(totals["cost_usd"])
    )


def test_a_day_that_is_no_date_is_an_error_that_says_so(deployed):
    answer = deployed.client("lambda").invoke(
        FunctionName=deployed.outputs["RollupFunctionName"], Payload=b'{"from": "yesterday"}'
    )
    assert answer["FunctionError"]
    assert "yesterday" in answer["Payload"].read().decode()


def test_the_tuner_writes_its_report_and_applies_nothing(deployed, decision_ids):
    told = invoke(deployed, "TuneFunctionName", {})
    assert told["proposed"] is None
    assert "nothing was explored" in told["why"]
    s3, bucket = deployed.client("s3"), deployed.outputs["LedgerBucket"]
    prefix = f"proposals/{today()}/"
    names = [x["Key"] for x in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    assert [name.removeprefix(prefix) for name in names] == ["report.json", "report.md"]
    read = json.loads(s3.get_object(Bucket=bucket, Key=names[0])["Body"].read())
    assert sum(read["left_out"].values()) + read["requests"] >= ASKED
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="policies/")
