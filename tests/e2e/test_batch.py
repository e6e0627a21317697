"""A file uploaded to the deployed stack: S3, EventBridge, Step Functions, Lambda, and back.

`FAREWAY_BATCH_ROWS=10000` makes it a file of so many rows, which takes minutes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from fareway.athena import Athena
from local import stack
from local.batch_simulation import answer_to
from tests.batching import a_file

#: One in ten is cheap, and asked in real time; the others go to two providers' batches.
KINDS = (
    "What is {} plus one?",
    *4 * ("Write a proof that there are infinitely many primes of the form 4k+3, number {}",),
    *5 * ("Diagnose the chest pain of patient {}: which medication, what dose?",),
)
ROWS = int(os.environ.get("FAREWAY_BATCH_ROWS", "120"))
PROMPTS = [KINDS[n % len(KINDS)].format(n) for n in range(ROWS)]
#: Each execution is stopped in one of these, until the last.
STOPS = ("Split", "Classify", "Assemble", "Ask", "Collect")
PATIENCE_S = 400.0 + ROWS / 10


class Batches:
    """The deployed machine and its bucket."""

    def __init__(self, deployed: Any) -> None:
        self.s3, self.sfn = deployed.client("s3"), deployed.client("stepfunctions")
        self.bucket, self.machine = (
            deployed.outputs["BatchBucket"],
            deployed.outputs["BatchMachine"],
        )

    def upload(self, name: str, content: bytes) -> str:
        """-> the ARN of the execution that the upload starts."""
        known = self._executions()
        self.s3.put_object(Bucket=self.bucket, Key=f"batch/in/{name}", Body=content)
        until(lambda: self._executions() - known)
        (started,) = self._executions() - known
        return started

    def _executions(self) -> set[str]:
        found = self.sfn.list_executions(stateMachineArn=self.machine)["executions"]
        return {execution["executionArn"] for execution in found}

    def come_to(self, execution: str, state: str) -> None:
        def come() -> bool:
            events = self.sfn.get_execution_history(executionArn=execution)["events"]
            told = [event.get("stateEnteredEventDetails", {}) for event in events]
            return state in [details.get("name") for details in told]

        until(come)

    def ended(self, execution: str) -> str:
        def status() -> str:
            return str(self.sfn.describe_execution(executionArn=execution)["status"])

        until(lambda: status() != "RUNNING")
        return status()

    def read(self, name: str) -> str:
        found = self.s3.get_object(Bucket=self.bucket, Key=f"batch/out/{name}")
        return str(found["Body"].read().decode())


def until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.fixture(scope="module")
def batches(deployed):
    return Batches(deployed)


def sent() -> int:
    """Requests in all batches of both providers."""
    url = f"http://127.0.0.1:{stack.BATCH_PORT}"
    openai = httpx.get(f"{url}/openai/v1/batches", headers={"authorization": "Bearer k"})
    headers = {"x-api-key": "k", "anthropic-version": "2026-10-21"}
    anthropic = httpx.get(f"{url}/anthropic/v1/messages/batches", headers=headers)
    return sum(batch["request_counts"]["total"] for batch in openai.json()["data"]) + sum(
        sum(batch["request_counts"].values()) for batch in anthropic.json()["data"]
    )


def test_an_upload_comes_back_in_order_and_is_paid_once_though_stopped_five_times(
    deployed, batches
):
    content = a_file(*PROMPTS, note=[f"n{n}" for n in range(len(PROMPTS))])
    for state in STOPS:
        execution = batches.upload("night.csv", content)
        batches.come_to(execution, state)
        batches.sfn.stop_execution(executionArn=execution)
    assert batches.ended(batches.upload("night.csv", content)) == "SUCCEEDED"

    found = list(csv.DictReader(io.StringIO(batches.read("night.csv"))))
    assert [row["id"] for row in found] == [str(n) for n in range(len(PROMPTS))]
    assert [row["note"] for row in found] == [f"n{n}" for n in range(len(PROMPTS))]
    assert {row["status"] for row in found} == {"succeeded"}
    batched = [n for n in range(len(PROMPTS)) if found[n]["tier"] != "cheap"]
    assert len(batched) >= ROWS * 0.8
    assert all(found[n]["answer"] == answer_to(PROMPTS[n]) for n in batched)
    summary = json.loads(batches.read("night.summary.json"))
    assert summary["statuses"] == {"succeeded": len(PROMPTS)}
    assert summary["in_real_time"] == len(PROMPTS) - len(batched)
    assert batches.read("night.errors.csv").splitlines() == ["line,id,status,reason"]
    assert sent() == len(batched)

    athena = Athena(
        deployed.client("athena"),
        deployed.outputs["AthenaWorkgroup"],
        deployed.outputs["LedgerDatabase"],
    )
    today = datetime.now(UTC).date()
    (counted,) = athena.run(
        "SELECT count(*) AS events, count(DISTINCT decision_id) AS ids, sum(cost_usd) AS cost_usd "
        "FROM (SELECT DISTINCT decision_id, occurred_at, served_model, status, cost_usd "
        f"FROM cost_events WHERE dt >= '{today}' AND tags = '{{\"batch\": \"night\"}}')"
    )
    assert int(counted["events"]) == int(counted["ids"]) == len(PROMPTS)
    assert float(counted["cost_usd"]) == pytest.approx(float(summary["cost"]["cost_usd"]))


def test_a_file_without_prompts_fails_and_its_summary_says_why(batches):
    assert batches.ended(batches.upload("none.csv", b"question\nwhat?\n")) == "FAILED"
    summary = json.loads(batches.read("none.summary.json"))
    assert "No column is called prompt" in summary["failed"]
