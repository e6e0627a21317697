"""The canary drill on the deployed stack: the hook is invoked as CodeDeploy does, for sound and
broken versions, while the alias goes on serving. MiniStack has no CodeDeploy: a stand-in hears.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from fareway.keys import create_key, list_keys
from local.serving import serve

NOWHERE = "http://127.0.0.1:9/v1"
EVENT = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}


@pytest.fixture(scope="module")
def codedeploy():
    """What CodeDeploy was told, and where it hears it."""
    told: list[dict[str, str]] = []
    app = FastAPI()

    @app.post("/")
    async def hear(request: Request) -> dict[str, str]:
        assert request.headers["x-amz-target"].endswith("PutLifecycleEventHookExecutionStatus")
        told.append(json.loads(await request.body()))
        return {"lifecycleEventHookExecutionId": told[-1]["lifecycleEventHookExecutionId"]}

    with serve(app) as url:
        yield told, url


@contextmanager
def settings(client, function, **variables) -> Iterator[None]:
    """A function with other variables, for a while."""
    before = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    changed = {"Variables": before | variables}
    client.update_function_configuration(FunctionName=function, Environment=changed)
    yield
    client.update_function_configuration(FunctionName=function, Environment={"Variables": before})


def preflight(deployed, codedeploy, **variables):
    """Publishes a version with variables changed, calls the hook -> its answer, what was told."""
    told, url = codedeploy
    client, out = deployed.client("lambda"), deployed.outputs
    with settings(client, out["ApiFunctionName"], **variables):
        version = client.publish_version(FunctionName=out["ApiFunctionName"])["FunctionArn"]
    hook = out["PreflightFunctionName"]
    new = {"FAREWAY_NEW_VERSION": version, "AWS_ENDPOINT_URL_CODEDEPLOY": url}
    with settings(client, hook, **new):
        done = client.invoke(FunctionName=hook, Payload=json.dumps(EVENT).encode())
    answer = json.loads(done["Payload"].read())
    assert "FunctionError" not in done, answer
    return answer, told[-1]


def test_a_sound_version_may_have_traffic(deployed, codedeploy):
    answer, told = preflight(deployed, codedeploy, FAREWAY_STAGE="local-2")
    assert answer == {"status": "Succeeded", "faults": []}
    assert told == {
        "deploymentId": "d-1",
        "lifecycleEventHookExecutionId": "e-1",
        "status": "Succeeded",
    }


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ({"FAREWAY_CLASSIFIER_DIR": "/nowhere"}, "the classifier gives no verdict"),
        (
            {"FAREWAY_OPENROUTER_BASE_URL": NOWHERE, "FAREWAY_TOKENMIX_BASE_URL": NOWHERE},
            "a completion: 502",
        ),
        ({"FAREWAY_LEDGER_STREAM": "gone"}, "its event went to s3, not to the ledger"),
    ],
    ids=["classifier", "upstream", "ledger"],
)
def test_a_broken_version_may_not(deployed, codedeploy, broken, fault):
    answer, told = preflight(deployed, codedeploy, **broken)
    assert told["status"] == answer["status"] == "Failed"
    assert any(fault in found for found in answer["faults"]), answer
    assert still_served(deployed) == 200


def test_no_key_is_left_behind(deployed):
    keys = list_keys(deployed.client("dynamodb"), deployed.outputs["KeysTable"])
    assert not [key for key in keys if key.name == "preflight"]


def test_the_drill_of_taking_a_version_back(deployed):
    """As in the runbook: the alias goes to a bad version, and back; seconds, and nothing else."""
    client, function = deployed.client("lambda"), deployed.outputs["ApiFunctionName"]
    good = client.get_alias(FunctionName=function, Name="live")["FunctionVersion"]
    with settings(client, function, FAREWAY_KEYS_TABLE="gone"):
        bad = client.publish_version(FunctionName=function)["Version"]
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=bad)
    assert still_served(deployed) == 503
    client.update_alias(FunctionName=function, Name="live", FunctionVersion=good)
    assert still_served(deployed) == 200


def still_served(deployed):
    """The status of a request that the alias answers."""
    key = create_key(deployed.client("dynamodb"), deployed.outputs["KeysTable"], "drill", "acme")[1]
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{deployed.base_url}/models", headers=headers, timeout=60).status_code
