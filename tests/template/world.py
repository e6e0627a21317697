"""The template's resources in moto, each with its name of the template, and who answers prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from local import batch
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.template.aws_calls import environment

TABLES = {
    "Keys": "key_hash",
    "Spend": "counter",
    "DecisionCache": "key",
    "Sessions": "session",
    "Decisions": "id",
    "Circuits": "circuit",
}
BUCKETS = ("ledgerbucket", "batchbucket")
UPSTREAM_KEYS = '{"tokenmix": "k", "openrouter": "k", "openai": "k", "anthropic": "k"}'


class World:
    """Where a function's code runs.

    Args:
        url: moto's.
        aggregators: name -> base URL of those that answer in real time.
        batches: base URL of the providers of batch endpoints.
    """

    def __init__(
        self,
        resources: Mapping[str, Any],
        url: str,
        aggregators: dict[str, str],
        batches: str,
        patch: pytest.MonkeyPatch,
        folder: Path,
    ) -> None:
        self.resources, self.url, self.patch, self.folder = resources, url, patch, folder
        self.aggregators, self.batches = aggregators, batches

    def stand_in(self, function: str) -> None:
        """Makes this process's environment the function's."""
        parameters = {
            "Stage": "test",
            "TokenMixBaseUrl": self.aggregators["tokenmix"] + "/v1",
            "OpenRouterBaseUrl": self.aggregators["openrouter"] + "/v1",
            "OpenAIBaseUrl": self.batches + "/openai/v1",
            "AnthropicBaseUrl": self.batches + "/anthropic/v1",
            "BatchRequestsPerMinute": "60000",
            "CacheBudgetMs": "5000",
            "LakeDatabase": "lake",
        }
        for name in self._names():
            self.patch.delenv(name, raising=False)
        for name, value in environment(self.resources, function, parameters).items():
            self.patch.setenv(name, value)

    def _names(self) -> set[str]:
        """The variables of all functions."""
        functions = (r for r in self.resources.values() if r["Type"] == "AWS::Serverless::Function")
        return {n for f in functions for n in f["Properties"]["Environment"]["Variables"]}

    def fail(self, **order: Any) -> None:
        for url in self.aggregators.values():
            httpx.post(f"{url}/_sim/fail", json=order).raise_for_status()

    def mend(self) -> None:
        for url in self.aggregators.values():
            httpx.post(f"{url}/_sim/reset").raise_for_status()

    def athena_answers(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        lines = [columns, *([row.get(name, "0") for name in columns] for row in rows)]
        data = [{"Data": [{"VarCharValue": cell} for cell in line]} for line in lines]
        result = {"rows": data, "column_info": []}
        body = {"account_id": "123456789012", "region": "us-east-1", "results": [result]}
        httpx.post(f"{self.url}/moto-api/static/athena/query-results", json=body).raise_for_status()

    def athena_is(self, **transition: Any) -> None:
        """How soon a query is over: after so many looks at it, or at once."""
        _athena_is(self.url, **transition)


def _athena_is(url: str, **transition: Any) -> None:
    order = {"model_name": "athena::execution", "transition": transition}
    httpx.post(f"{url}/moto-api/state-manager/set-transition", json=order).raise_for_status()


@contextmanager
def a_world(
    resources: Mapping[str, Any], url: str, patch: pytest.MonkeyPatch, folder: Path
) -> Iterator[World]:
    """A fresh one; nothing of it is left.

    Args:
        url: moto's, at which the AWS SDKs point.
    """
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    _athena_is(url, progression="immediate")
    _deploy()
    with (
        serve(create_simulator("tokenmix", 0)) as one,
        serve(create_simulator("openrouter", 0)) as two,
        serve(batch.create_app()) as batches,
    ):
        yield World(resources, url, {"tokenmix": one, "openrouter": two}, batches, patch, folder)
    _athena_is(url, progression="immediate")
    httpx.post(f"{url}/moto-api/reset").raise_for_status()


def _deploy() -> None:
    dynamodb, s3 = boto3.client("dynamodb"), boto3.client("s3")
    for name, key in TABLES.items():
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName="LedgerStream",
        S3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": "arn:aws:s3:::ledgerbucket",
        },
    )
    boto3.client("secretsmanager").create_secret(Name="UpstreamSecret", SecretString=UPSTREAM_KEYS)
    boto3.client("athena").create_work_group(
        Name="Workgroup",
        Configuration={"ResultConfiguration": {"OutputLocation": "s3://ledgerbucket/x/"}},
    )
