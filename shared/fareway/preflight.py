"""A new version of the API function -> whether it may have traffic, told to CodeDeploy.

The version itself is invoked, with events as API Gateway sends them, under a key that lives as
long as this does. `/v1/route` decides the golden prompts, which costs nothing; one completion of
one token, far below a cent, goes all the way: key, decision, upstream, bill, ledger. That it
reached the ledger is read from the request's own log line, which Lambda hands back.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fareway.caller import Allowance
from fareway.keys import create_key, key_hash
from fareway.log import log
from fareway.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

#: How often a check is made before it counts as failed: an upstream has its moments.
TRIES = 2
TENANT = "fareway-preflight"
#: What ends a streamed answer's head. Source: docs.aws.amazon.com/lambda/latest/dg/
#: configuration-response-streaming.html and its runtime's HttpResponseStream.
_HEAD_ENDS = b"\0" * 8


@dataclass(frozen=True, slots=True)
class Golden:
    """A prompt, and where any sound version sends it, whatever its cuts.

    Args:
        tiers: one of these; lane: this one.
    """

    name: str
    text: str
    lane: Literal["standard", "sensitive"]
    tiers: tuple[str, ...]


GOLDEN = (
    Golden("simple", "What is the capital of France?", "standard", ("cheap", "mid")),
    Golden(
        "hard",
        "Prove that every bounded sequence of real numbers has a convergent subsequence, then give "
        "a counterexample in an infinite-dimensional Hilbert space; say which step fails there.",
        "standard",
        ("mid", "premium"),
    ),
    Golden(
        "sensitive",
        "I took thirty paracetamol tablets an hour ago and feel fine. Must I still go to hospital?",
        "sensitive",
        ("premium",),
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation came to.

    Args:
        line: the request's log line; empty where none is in the tail of the log.
    """

    status: int
    body: Mapping[str, Any]
    line: Mapping[str, Any] = field(default_factory=dict)


class Fault(Exception):
    """Why the version may have no traffic."""


#: An event as API Gateway sends it -> the answer.
Invoke = Callable[[Mapping[str, Any]], Answer]


def hook(settings: Settings, event: Mapping[str, str]) -> dict[str, object]:
    """CodeDeploy's event -> what the checks find, which CodeDeploy is told.

    Source: docs.aws.amazon.com/codedeploy/latest/userguide/
    reference-appspec-file-structure-hooks.html (Lambda deployments).

    Raises:
        ClientError, BotoCoreError: CodeDeploy can't be told; it then fails the deployment itself.
    """
    dynamodb = boto3.client("dynamodb")
    try:
        with temporary_key(dynamodb, settings.keys_table) as key:
            faults = preflight(invoker(settings.new_version), key)
    except (BotoCoreError, ClientError) as error:
        faults = [f"the checks could not be made: {error}"]
    status: Literal["Succeeded", "Failed"] = "Failed" if faults else "Succeeded"
    log("error" if faults else "info", "preflight", status=status, faults=faults)
    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )
    return {"status": status, "faults": faults}


def preflight(invoke: Invoke, key: str) -> list[str]:
    """Every check -> what is wrong; empty: the version may have traffic."""
    checks: list[Callable[[], None]] = [
        partial(_health, invoke),
        partial(_stranger, invoke),
        *(partial(_golden, invoke, key, golden) for golden in GOLDEN),
        partial(_completion, invoke, key),
    ]
    return [fault for check in checks if (fault := _fault(check)) is not None]


def _fault(check: Callable[[], None]) -> str | None:
    """What a check finds, however often it is made."""
    found = None
    for _ in range(TRIES):
        try:
            check()
        except Fault as fault:
            found = str(fault)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            found = f"an answer that makes no sense: {type(error).__name__}: {error}"
        else:
            return None
    return found


def _health(invoke: Invoke) -> None:
    answer = invoke(request("GET", "/healthz"))
    if answer.status != 200 or answer.body["classifier"] is None or not answer.body["aggregators"]:
        raise Fault(f"/healthz: {answer.status} {json.dumps(answer.body)}")


def _stranger(invoke: Invoke) -> None:
    answer = invoke(request("GET", "/v1/models", key="fw-" + secrets.token_urlsafe(32)))
    if answer.status != 401:
        raise Fault(f"a key that nobody made: {answer.status}, not 401")


def _golden(invoke: Invoke, key: str, golden: Golden) -> None:
    body = {"messages": [{"role": "user", "content": golden.text}]}
    answer = invoke(request("POST", "/v1/route", key, body))
    if answer.status != 200:
        raise Fault(f"golden prompt {golden.name}: {_told(answer)}")
    decided = answer.body
    if decided["classifier"] is None:
        raise Fault(f"golden prompt {golden.name}: the classifier gives no verdict")
    if decided["lane"] != golden.lane or decided["tier"] not in golden.tiers:
        raise Fault(
            f"golden prompt {golden.name}: {decided['lane']} lane, tier {decided['tier']} "
            f"({decided['reason']}); expected {golden.lane}, {' or '.join(golden.tiers)}"
        )


def _completion(invoke: Invoke, key: str) -> None:
    messages = [{"role": "user", "content": "Say OK."}]
    body = {"model": "fareway/cheap", "messages": messages, "max_tokens": 1}
    answer = invoke(request("POST", "/v1/chat/completions", key, body))
    if answer.status != 200 or not answer.body.get("choices"):
        raise Fault(f"a completion: {_told(answer)}")
    if not answer.line:
        raise Fault("a completion: it left no line in the log")
    if answer.line.get("ledger") != "firehose":
        raise Fault(
            f"a completion: its event went to {answer.line.get('ledger')}, not to the ledger"
        )
    if answer.line.get("Failovers"):
        log("warning", "preflight: answered after a failover", model=answer.line.get("model"))


def _told(answer: Answer) -> str:
    error = answer.body.get("error") or {}
    return f"{answer.status} {error.get('code')}: {error.get('message')}"


def request(
    method: str, path: str, key: str | None = None, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A request as a REST API hands it to a function (AWS_PROXY, payload format 1.0)."""
    headers = {"Host": "preflight", "content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "stage": "preflight",
            "path": path,
            "httpMethod": method,
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def invoker(version: str) -> Invoke:
    """Invokes a version of a function, by its ARN, and reads what it answers and logs."""
    # a version that hangs must not outlast the hook's own time
    config = Config(connect_timeout=3, read_timeout=40, retries={"max_attempts": 0})
    client = boto3.client("lambda", config=config)

    def invoke(event: Mapping[str, Any]) -> Answer:
        done = client.invoke(
            FunctionName=version, Payload=json.dumps(event).encode(), LogType="Tail"
        )
        payload = done["Payload"].read()
        if "FunctionError" in done:
            raise Fault(
                f"the function ended in an error: {payload[:500].decode('utf-8', 'replace')}"
            )
        tail = base64.b64decode(done.get("LogResult", "")).decode("utf-8", "replace")
        return answer_of(payload, tail)

    return invoke


def answer_of(payload: bytes, tail: str) -> Answer:
    """What a function answered, whole or streamed, and the end of its log -> Answer.

    Raises:
        ValueError, KeyError: it is no answer to API Gateway.
    """
    head, streamed, rest = payload.partition(_HEAD_ENDS)
    answer = json.loads(head)
    text = rest.decode() if streamed else answer.get("body") or "{}"
    if answer.get("isBase64Encoded") and not streamed:
        text = base64.b64decode(text).decode()
    return Answer(int(answer["statusCode"]), json.loads(text), _request_line(tail))


def _request_line(tail: str) -> Mapping[str, Any]:
    """The last line of a request that is whole; the tail is 4 KB and may begin within one."""
    for text in reversed(tail.splitlines()):
        try:
            line = json.loads(text[text.index("{") :])
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("message") == "request":
            return line
    return {}


@contextmanager
def temporary_key(client: DynamoDBClient, table: str) -> Iterator[str]:
    """A key for a cent a day, gone afterwards; a process that is killed leaves one nobody knows.

    Its tenant is new each time, so that no verdict of a version before is remembered.
    """
    allowance = Allowance(daily_usd=Decimal("0.01"), tags={"team": TENANT})
    tenant = f"{TENANT}-{secrets.token_hex(8)}"
    _, key = create_key(client, table, "preflight", tenant, allowance)
    try:
        yield key
    finally:
        client.delete_item(TableName=table, Key={"key_hash": {"S": key_hash(key)}})
