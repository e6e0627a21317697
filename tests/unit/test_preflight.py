"""The canary drill: what is wrong with a version is found before it has traffic.

The version is the app in this process, behind Mangum and its events; DynamoDB, Firehose and S3 are
moto's, the upstreams simulated, the classifier the one that ships.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
from dataclasses import replace
from typing import Any

import boto3
import httpx
import pytest
from mangum import Mangum

from fareway import observe, preflight
from fareway.app import create_app
from fareway.preflight import Answer, answer_of, hook, request
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import ROOT, a_verdict

EVENT = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}
NOWHERE = "http://127.0.0.1:1/v1"


@pytest.fixture(scope="module")
def simulators():
    with (
        serve(create_simulator("tokenmix", 0)) as one,
        serve(create_simulator("openrouter", 0)) as two,
    ):
        yield {"tokenmix": one + "/v1", "openrouter": two + "/v1"}


class Version:
    """A deployed version: its settings, and Lambda's client that invokes it."""

    def __init__(self, settings: Settings, lines: list[dict[str, Any]]) -> None:
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.lines = lines
        self.gateway = build(settings)
        self.handler = Mangum(create_app(self.gateway), lifespan="off")
        self.invoked: list[dict[str, Any]] = []

    def invoke(self, **given: Any) -> dict[str, Any]:
        self.invoked.append(given)
        before = len(self.lines)
        answer = self.handler(json.loads(given["Payload"]), None)
        told = "".join(json.dumps(line) + "\n" for line in self.lines[before:])
        tail = base64.b64encode(f"START\n{told}REPORT\n".encode()).decode()
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), "LogResult": tail}

    def close(self) -> None:
        self.loop.run_until_complete(self.gateway.close())
        self.loop.close()
        asyncio.set_event_loop(None)


class CodeDeploy:
    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []

    def put_lifecycle_event_hook_execution_status(self, **given: str) -> None:
        self.told.append(given)


class Drill:
    """Deploys versions and has CodeDeploy call the hook for each."""

    def __init__(self, sound: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sound, self.codedeploy = sound, CodeDeploy()
        self.lines: list[dict[str, Any]] = []
        self.version: Any = None
        monkeypatch.setattr(observe, "_write", self.lines.append)
        real = boto3.client

        def client(service: str, **options: Any) -> Any:
            ours = {"lambda": self.version, "codedeploy": self.codedeploy}
            return ours[service] if service in ours else real(service, **options)

        monkeypatch.setattr(preflight.boto3, "client", client)

    def deploy(self, **changes: Any) -> Version:
        self.version = Version(replace(self.sound, **changes), self.lines)
        return self.version

    def called(self) -> list[str]:
        """What the hook found; CodeDeploy was told as much."""
        settings = Settings(keys_table="keys", new_version="arn:the-version")
        done = hook(settings, EVENT)
        assert self.codedeploy.told[-1] == {
            "deploymentId": "d-1",
            "lifecycleEventHookExecutionId": "e-1",
            "status": "Failed" if done["faults"] else "Succeeded",
        }
        return done["faults"]  # type: ignore[return-value]


@pytest.fixture
def drill(table, simulators, monkeypatch):
    table("keys", "key_hash")
    table("spend", "counter")
    s3, firehose = boto3.client("s3"), boto3.client("firehose")
    s3.create_bucket(Bucket="ledger")
    firehose.create_delivery_stream(
        DeliveryStreamName="events",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": "arn:aws:s3:::ledger",
        },
    )
    for url in simulators.values():
        httpx.post(url.removesuffix("/v1") + "/_sim/reset").raise_for_status()
    sound = Settings(
        stage="drill",
        keys_table="keys",
        spend_table="spend",
        ledger_stream="events",
        ledger_bucket="ledger",
        ledger_budget_ms=20_000,
        classifier_budget_ms=20_000,  # of a busy machine
        metrics="emf",
        upstream_keys={"tokenmix": "k", "openrouter": "k"},
        base_urls=simulators,
    )
    drill = Drill(sound, monkeypatch)
    yield drill
    if isinstance(drill.version, Version):
        drill.version.close()
    for entry in s3.list_objects_v2(Bucket="ledger").get("Contents", []):
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")
    firehose.delete_delivery_stream(DeliveryStreamName="events")


def test_a_sound_version_may_have_traffic(drill, simulators):
    version = drill.deploy()
    assert drill.called() == []
    assert {given["FunctionName"] for given in version.invoked} == {"arn:the-version"}
    asked = [
        entry
        for url in simulators.values()
        for entry in httpx.get(url.removesuffix("/v1") + "/_sim/requests").json()
    ]
    assert len(asked) == 1  # one completion; all else costs nothing


def test_its_key_is_gone_afterwards(drill):
    drill.deploy()
    drill.called()
    assert boto3.client("dynamodb").scan(TableName="keys")["Items"] == []


def test_a_model_that_does_not_load(drill, tmp_path):
    folder = tmp_path / "classifier"
    shutil.copytree(ROOT / "models" / "classifier", folder)
    (folder / "model.onnx").write_bytes(b"not a model")
    drill.deploy(classifier_dir=folder)
    faults = drill.called()
    assert any("/healthz" in fault and "degraded" in fault for fault in faults)
    assert any("golden prompt simple: the classifier gives no verdict" in f for f in faults)


class Broken:
    version = "test-1"

    def __init__(self, verdict: Any) -> None:
        self.verdict = verdict

    def count(self, text: str) -> int:
        return len(text)

    def score(self, text: str) -> Any:
        if self.verdict is None:
            raise RuntimeError("broken")
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "failed"),
    [
        (None, {"simple", "hard", "sensitive"}),
        (a_verdict(1), {"hard", "sensitive"}),
        (a_verdict(5), {"simple", "sensitive"}),
        (a_verdict(3, sensitivity=0.9), {"simple", "hard"}),
    ],
    ids=["raises", "all is simple", "all is hard", "all is sensitive"],
)
def test_a_classifier_that_is_wrong(drill, verdict, failed):
    version = drill.deploy()
    version.gateway.scoring.scorer = Broken(verdict)
    faults = drill.called()
    assert {fault.split()[2].rstrip(":") for fault in faults} == failed


def test_upstreams_that_cannot_be_reached(drill):
    drill.deploy(base_urls={"tokenmix": NOWHERE, "openrouter": NOWHERE})
    (fault,) = drill.called()
    assert fault.startswith("a completion: 502 all_candidates_failed")


def test_a_version_without_an_upstream_key(drill):
    drill.deploy(upstream_keys={})
    assert any("a completion" in fault for fault in drill.called())


def test_one_upstream_of_two_is_no_reason_to_stop_a_release(drill, simulators, logged):
    drill.deploy(base_urls={**simulators, "tokenmix": NOWHERE})
    assert drill.called() == []
    assert "preflight: answered after a failover" in [line["message"] for line in logged()]


@pytest.mark.parametrize(
    ("changes", "went"),
    [
        ({"ledger_stream": "gone"}, "s3"),
        ({"ledger_stream": "gone", "ledger_bucket": "gone"}, "log"),
    ],
    ids=["the stream", "and its fallback"],
)
def test_a_ledger_that_takes_no_event(drill, changes, went):
    drill.deploy(**changes)
    assert drill.called() == [f"a completion: its event went to {went}, not to the ledger"]


def test_a_version_that_reads_no_keys(drill):
    drill.deploy(keys_table="gone")
    assert any(fault.startswith("a key that nobody made: 503") for fault in drill.called())


def test_a_version_that_lets_anybody_in(drill):
    version = drill.deploy()
    version.handler = lambda event, _: {"statusCode": 200, "body": "{}"}
    assert any("a key that nobody made: 200, not 401" in fault for fault in drill.called())


@pytest.mark.parametrize(
    "answer",
    [None, [], {"statusCode": 200, "body": "[]"}, {"statusCode": 500, "body": '{"error": "odd"}'}],
)
def test_a_version_that_answers_in_another_form(drill, answer):
    version = drill.deploy()
    version.handler = lambda event, _: answer
    assert len(drill.called()) == 6


class Dies:
    def invoke(self, **_: Any) -> dict[str, Any]:
        error = b'{"errorType": "Runtime.ExitError", "errorMessage": "exited"}'
        return {"FunctionError": "Unhandled", "Payload": io.BytesIO(error)}


def test_a_version_that_does_not_start(drill):
    drill.version = Dies()
    faults = drill.called()
    assert len(faults) == 6
    assert all("Runtime.ExitError" in fault for fault in faults)


def test_what_goes_wrong_once_is_tried_again(drill):
    version = drill.deploy()
    real, broken = version.handler, ['{"statusCode": 500, "body": "{}"}']
    version.handler = lambda *given: json.loads(broken.pop()) if broken else real(*given)
    assert drill.called() == []


def test_a_key_table_that_cannot_be_written_fails_the_release(drill):
    done = hook(Settings(keys_table="gone", new_version="arn"), EVENT)
    assert done["status"] == drill.codedeploy.told[-1]["status"] == "Failed"


def test_an_answer_may_come_streamed_or_encoded():
    head = b'{"statusCode": 200, "headers": {}}'
    assert answer_of(head + b"\0" * 8 + b'{"a": 1}', "") == Answer(200, {"a": 1})
    encoded = {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(b'{"a": 1}')}
    encoded["body"] = encoded["body"].decode()
    assert answer_of(json.dumps(encoded).encode(), "") == Answer(200, {"a": 1})


def test_the_log_line_is_found_in_a_tail_that_begins_within_one():
    line = {"message": "request", "ledger": "firehose"}
    tail = f'"ledger":"s3"}}\n{{"message": "other"}}\n{json.dumps(line)}\nEND\nREPORT {{x\n'
    assert answer_of(b'{"statusCode": 200, "body": "{}"}', tail).line == line


def test_a_request_is_as_api_gateway_sends_it():
    event = request("POST", "/v1/route", "fw-k", {"messages": []})
    assert event["headers"]["authorization"] == "Bearer fw-k"
    assert json.loads(event["body"]) == {"messages": []}
