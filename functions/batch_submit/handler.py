"""The door to a batch job's answers: a state of the machine -> one look at the providers."""

from typing import Any

import boto3

from fareway.batch_steps import Steps
from fareway.settings import Settings

steps = Steps(Settings.from_env(), boto3.client("s3"), boto3.client("firehose"))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    def left_s() -> float:
        return float(context.get_remaining_time_in_millis()) / 1000

    match event:
        case {"step": "submit", "job": {"folder": folder}}:
            return steps.submit(folder, event["job"].get("pause", {}), left_s)
        case {"step": "answer", "job": {"folder": folder}}:
            return steps.answer(folder, left_s)
    raise ValueError(f"not a step: {event.get('step')}")
