"""The door to a batch job's beginning: a state of the machine -> rows, decisions, requests."""

from typing import Any

import boto3

from fareway.batch_steps import Steps
from fareway.settings import Settings

steps = Steps(Settings.from_env(), boto3.client("s3"), boto3.client("firehose"))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    match event:
        case {"step": "split", "key": key}:
            return steps.split(key)
        case {"step": "classify", "slice": key}:
            return steps.classify(key)
        case {"step": "assemble", "folder": folder}:
            return steps.assemble(folder)
    raise ValueError(f"not a step: {event.get('step')}")
