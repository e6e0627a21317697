"""What the tests stand on: moto's server beneath the adapters, the local stack for the rest."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.dynamodb.responses import DynamoHandler
from moto.server import ThreadedMotoServer

from fareway.aws import Aws
from local import stack
from local.cloud import LocalCloudError, aws_env, start_ministack
from tests.canaries import (  # noqa: F401, its hooks: no prompt, answer or key is logged
    pytest_configure,
    pytest_runtest_logreport,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from tests.llm import LLM, llm_server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """An AWS API in this process; moto's DynamoDB, S3 and Firehose.

    DynamoDB writes an item in one piece; moto's threads check and write it in two, so a lock.
    """
    lock = threading.Lock()

    def in_one_piece(write: Callable[[DynamoHandler], Any]) -> Callable[[DynamoHandler], Any]:
        def locked(self: DynamoHandler) -> Any:
            with lock:
                return write(self)

        return locked

    server = ThreadedMotoServer(port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("update_item", "put_item"):
            patch.setattr(DynamoHandler, name, in_one_piece(getattr(DynamoHandler, name)))
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Points every AWS SDK at moto; whatever else the environment says of AWS is left out."""
    for name, value in aws_env(0).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    return moto_server


class Stack:
    """The stack deployed on this machine, and what a test asks of it."""

    def __init__(self, outputs: dict[str, str]) -> None:
        self.outputs = outputs
        self.base_url = outputs["endpoint_url"] + "/v1"

    def client(self, service: str) -> Any:
        return stack.aws_client(service, stack.PORT)

    def simulator(self, name: str) -> str:
        return f"http://127.0.0.1:{stack.SIMULATORS[name]}"


@pytest.fixture(scope="session")
def deployed() -> Iterator[Stack]:
    """`make up`, once for all tests that need the deployed stack."""
    try:
        stack.down()
        start_ministack(stack.PORT, stack.FOLDER)
        stack.start_simulators(stack.FOLDER)
        outputs = stack.deploy(stack.PORT, stack.FOLDER)
    except LocalCloudError as error:
        pytest.fail(str(error))
    yield Stack(outputs)
    stack.down()


@pytest.fixture
def table(aws: str) -> Iterator[Any]:
    """Makes tables with one string key, and removes them."""
    client = boto3.client("dynamodb")
    made = []

    def make(name: str, key: str) -> str:
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_table(TableName=name)


@pytest.fixture
async def sdk(aws: str) -> AsyncIterator[Aws]:
    """The process's AWS clients, at moto."""
    sdk = Aws()
    yield sdk
    await sdk.close()


@pytest.fixture
async def unreachable(aws: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Aws]:
    """AWS clients that no service answers."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    sdk = Aws()
    yield sdk
    await sdk.close()


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Any:
    """The log lines written so far, as objects."""

    def read() -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"
        ]

    return read


@pytest.fixture(scope="module")
def _llm() -> Iterator[LLM]:
    with llm_server() as llm:
        yield llm


@pytest.fixture
def llm(_llm: LLM) -> LLM:
    """An LLM over HTTP for a teacher to be; it says 3 until a test tells it otherwise."""
    _llm.reset()
    return _llm
