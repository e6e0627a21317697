"""All that each function does: its code, run in the template's own environment and listened to."""

from __future__ import annotations

import asyncio
import io
import json
import runpy
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import boto3
import boto3.s3.inject
import httpx
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.client import BaseClient

from fareway.app import create_app
from fareway.caller import Allowance
from fareway.keys import create_key
from fareway.lake import ROLLUP_COLUMNS
from fareway.policy_store import PolicyStore
from fareway.proposal import with_cuts
from fareway.savings import PARTS
from fareway.settings import Settings
from fareway.wiring import Gateway, build
from tests.asl import Failed, Machine
from tests.batching import a_file, by_words
from tests.builders import POLICY_FILE, a_chat
from tests.template.aws_calls import ROOT, Calls, listening
from tests.template.world import World
from tests.unit.test_app import FixedScorer


def handler(function: str) -> dict[str, Any]:
    """What a function's file defines, as Lambda runs it."""
    return runpy.run_path(str(ROOT / "functions" / function / "handler.py"))


# A request


async def requests(world: World) -> Calls:
    """All that a request may come to: memory, budgets, breakers, fallbacks, feedback, savings."""
    policy = world.folder / "one.toml"
    shipped = POLICY_FILE.read_text(encoding="utf-8")
    policy.write_text(with_cuts(shipped, "one", (1.5, 2.5, 3.5, 4.5)), encoding="utf-8")
    PolicyStore.at(boto3.client("s3"), "s3://ledgerbucket/policies").apply(policy)
    allowance = Allowance(
        daily_usd=Decimal(100), monthly_usd=Decimal(100), requests_per_minute=1000, admin=True
    )
    _, key = create_key(boto3.client("dynamodb"), "Keys", "test", "acme", allowance)
    with listening() as calls:
        gateway = build(Settings.from_env())
        assert gateway.policy.version == "one"
        transport = httpx.ASGITransport(create_app(gateway))
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://fareway/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=60,
        ) as client:
            patient(gateway)
            await complaints(client)
            await breakers(world, gateway, client)
            await savings(world, gateway, client)
            boto3.client("firehose").delete_delivery_stream(DeliveryStreamName="LedgerStream")
            await ask(client, "the stream is gone")
        await gateway.close()
    calls.rights.discard(("firehose:DeleteDeliveryStream", "LedgerStream"))  # the test's own
    return calls


def patient(gateway: Gateway) -> None:
    """However slow the machine is, no budget of time runs out."""
    gateway.scoring.scorer = FixedScorer()
    gateway.router.dispatcher.circuits.budget_s = 60  # type: ignore[attr-defined]
    for part in (gateway.keys, gateway.rates, gateway.budgets, gateway.router.ledger):
        part.budget_s = 60  # type: ignore[union-attr]


async def ask(client: httpx.AsyncClient, prompt: str, **fields: Any) -> httpx.Response:
    return await client.post("/chat/completions", json=a_chat(prompt, **fields))


async def complaints(client: httpx.AsyncClient) -> None:
    """Two users whom the same answer does not satisfy, in sessions of their own."""
    for user in ("ann", "ben"):
        answer = await ask(client, "Where are my shoes?", user=user)
        assert answer.status_code == 200
        id_ = answer.headers["x-fareway-decision-id"]
        assert (await client.get(f"/decisions/{id_}")).status_code == 200
        opinion = {"completion_id": answer.json()["id"], "rating": "down", "reason": "wrong"}
        taken = await client.post("/feedback", json=opinion)
        assert taken.status_code == 200, taken.text
    assert taken.json()["raised"] == "mid"


async def breakers(world: World, gateway: Gateway, client: httpx.AsyncClient) -> None:
    """Every model fails until its breaker opens; later, one is tried again and is well."""
    circuits = gateway.router.dispatcher.circuits  # type: ignore[attr-defined]
    world.fail(mode="refuse_500")
    for n in range(3):
        assert (await ask(client, f"nobody answers {n}")).status_code == 502
    await circuits.settled()
    world.mend()
    circuits.clock = lambda: time.monotonic() + 100
    circuits.now = lambda: time.time() + 100
    circuits.refresh()
    await circuits.settled()
    assert (await ask(client, "all is well again")).status_code == 200
    await circuits.settled()


async def savings(world: World, gateway: Gateway, client: httpx.AsyncClient) -> None:
    """The page and each of its parts, of days without requests; then too slow a query."""
    assert (await client.get("http://fareway/dashboard")).status_code == 200
    for part in PARTS:
        assert (await client.get(f"/admin/savings/{part}")).status_code == 200
    gateway.savings._client.timeout_s = -1  # type: ignore[union-attr]
    world.athena_is(progression="manual", times=9)
    late = await client.get("/admin/savings/summary", params={"to": "2026-11-24"})
    assert "no answer within" in late.json()["error"]["message"]


# What runs by the clock


async def rollup(world: World) -> Calls:
    """A day with events, and a query that takes too long."""
    row = {"day": "2026-11-24", "tier": "cheap", "lane": "standard", "cost_usd": "0.1"}
    world.athena_answers(list(ROLLUP_COLUMNS), [row])
    with listening() as calls:
        module = handler("rollup")
        assert module["handler"]({}, None) == {"2026-11-24": 1}
        module["athena"].timeout_s = -1
        world.athena_is(progression="manual", times=9)
        with pytest.raises(Exception, match="no answer within"):
            module["handler"]({}, None)
    return calls


async def tune(world: World) -> Calls:
    """A week without requests: a report, and a policy that is in force; then too slow a query."""
    with listening() as calls:
        handle = handler("tune")["handler"]
        assert handle({}, None)["requests"] == 0
        world.patch.setattr("fareway.athena.time.monotonic", iter(range(0, 10**6, 1000)).__next__)
        world.athena_is(progression="manual", times=9)
        with pytest.raises(Exception, match="no answer within"):
            handle({}, None)
    return calls


# A release


async def preflight(world: World) -> Calls:
    """A version that always fails. It and CodeDeploy are played here: moto has neither."""
    told = []

    def play(made: Any) -> Any:
        def call(self: Any, operation: str, params: Any) -> Any:
            if operation == "Invoke":
                return {"Payload": io.BytesIO(b'{"statusCode": 500}')}
            if operation == "PutLifecycleEventHookExecutionStatus":
                return told.append(params["status"])
            return made(self, operation, params)

        return call

    world.patch.setattr(BaseClient, "_make_api_call", play(BaseClient.__dict__["_make_api_call"]))
    with listening() as calls:
        event = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e-1"}
        handler("preflight")["handler"](event, None)
    assert told == ["Failed"]
    return calls


# A batch job


async def batch(function: str, world: World) -> Calls:
    """The machine's executions: a job, one whose files go in parts and break off, one that fails.

    Args:
        function: `classify`, `submit` or `collect`: whose calls they are. The others run too.
    """
    calls, clock = Calls(), [time.time()]
    modules = dict[str, dict[str, Any]]()

    def heard(name: str) -> AbstractContextManager[object]:
        return listening(calls) if name == function else nullcontext()

    for name in ("classify", "submit", "collect"):
        world.stand_in(f"Batch{name.title()}Function")
        with heard(name):
            modules[name] = handler(f"batch_{name}")
        steps = modules[name]["steps"]
        steps.classifier = SimpleNamespace(score_many=by_words, version="test-1")
        steps.now = lambda: clock[0]

    def call(placeholder: str, payload: Any) -> Any:
        name = placeholder.removeprefix("${").removesuffix("Function}").lower()
        told = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
        with heard(name):
            return modules[name]["handler"](payload, told)

    s3 = boto3.client("s3")

    def keys(prefix: str) -> list[str]:
        found = s3.list_objects_v2(Bucket="batchbucket", Prefix=prefix)
        return [entry["Key"] for entry in found["Contents"]]

    def wait(seconds: float) -> None:
        clock[0] += seconds

    definition = (ROOT / "statemachines" / "batch.asl.json").read_text(encoding="utf-8")
    machine = Machine(json.loads(definition), call, keys, wait)

    def upload(content: bytes, key: str) -> None:
        s3.put_object(Bucket="batchbucket", Key=f"batch/in/{key}", Body=content)
        machine.run({"key": f"batch/in/{key}"})

    def executions() -> None:
        upload(a_file("easy one", "hard two", "risky three"), "small.csv")
        for module in modules.values():
            break_off(module["steps"].s3)
        in_parts = partial(TransferConfig, multipart_threshold=1)
        world.patch.setattr(boto3.s3.inject, "TransferConfig", in_parts)
        upload(a_file("easy four", "hard five", "risky six"), "large.csv")
        with pytest.raises(Failed):
            upload(b"no prompt in it\n", "wrong.csv")

    await asyncio.to_thread(executions)  # the functions have event loops of their own
    out = {f"batch/out/{name}" for name in ("small.csv", "large.csv", "wrong.summary.json")}
    assert out <= set(keys("batch/out/"))
    return calls


def break_off(s3: Any) -> None:
    """The connection is lost within the first part of an object, and of a copy."""
    for operation in ("UploadPart", "UploadPartCopy"):
        lost = iter([ConnectionError("lost")])

        def lose(lost: Any = lost, **_: Any) -> None:
            for error in lost:
                raise error

        s3.meta.events.register(f"before-call.s3.{operation}", lose)


REPERTOIRES: dict[str, Callable[[World], Coroutine[Any, Any, Calls]]] = {
    "ApiFunction": requests,
    "RollupFunction": rollup,
    "BatchClassifyFunction": partial(batch, "classify"),
    "BatchSubmitFunction": partial(batch, "submit"),
    "BatchCollectFunction": partial(batch, "collect"),
    "TuneFunction": tune,
    "PreflightFunction": preflight,
}
