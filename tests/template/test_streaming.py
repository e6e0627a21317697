"""The streaming door, as SAM and CloudFormation make it; Lambda itself can't be had here."""

import os
from typing import Any

import pytest

from local.cloud import ROOT


@pytest.fixture(params=["BUFFERED", "RESPONSE_STREAM"])
def deployed(request: pytest.FixtureRequest, resources: dict[str, Any]) -> tuple[bool, Any]:
    """Whether it streams, and the resources with that condition decided."""
    streams = request.param == "RESPONSE_STREAM"
    return streams, decided(resources, streams)


def decided(node: Any, streams: bool) -> Any:
    if isinstance(node, list):
        return [decided(child, streams) for child in node]
    if not isinstance(node, dict):
        return node
    choice = node.get("Fn::If")
    if choice and choice[0] == "IsStreaming":
        return decided(choice[1 if streams else 2], streams)
    return {name: decided(child, streams) for name, child in node.items()}


def test_every_route_streams_or_none(deployed: tuple[bool, Any]) -> None:
    streams, resources = deployed
    for methods in resources["Api"]["Properties"]["DefinitionBody"]["paths"].values():
        for method in methods.values():
            integration = method["x-amazon-apigateway-integration"]
            assert integration["responseTransferMode"] == ("STREAM" if streams else "BUFFERED")
            ending = "response-streaming-invocations" if streams else "2015-03-31"
            assert ending in integration["uri"]["Fn::Sub"]
            assert "${ApiFunction.Alias}" in integration["uri"]["Fn::Sub"]


def test_the_web_adapter_is_there_where_it_streams_alone(deployed: tuple[bool, Any]) -> None:
    streams, resources = deployed
    function = resources["ApiFunction"]["Properties"]
    assert function["Handler"] == ("run.sh" if streams else "handler.handler")
    variables = function["Environment"]["Variables"]
    assert (variables["AWS_LAMBDA_EXEC_WRAPPER"] == "/opt/bootstrap") is streams
    assert ("LambdaAdapterLayer" in str(function["Layers"][-1])) is streams


def test_the_door_is_a_script_that_can_be_run() -> None:
    door = ROOT / "functions" / "api" / "run.sh"
    assert os.access(door, os.X_OK)
    assert door.read_text(encoding="utf-8").endswith("exec python3.13 stream.py\n")
