"""The door to a batch job's end: a state of the machine -> answers, sums, events in the ledger."""

from typing import Any

import boto3

from fareway.batch_steps import Steps
from fareway.settings import Settings

steps = Steps(Settings.from_env(), boto3.client("s3"), boto3.client("firehose"))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    def left_s() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    execution = event["execution"]
    folder = execution.get("job", {}).get("folder", "")
    match event["step"]:
        case "collect":
            return steps.collect(folder)
        case "record":
            return steps.record(folder, execution.get("ledger", {}).get("recorded", 0), left_s)
        case "fail":
            return steps.fail(execution)
    raise ValueError(f"not a step: {event['step']}")
