"""Each function may do what its code does, and nothing besides.

Each function's whole repertoire runs with the environment that the template gives it, over moto,
where every resource has its name of the template. What is called is held against its role, both
ways. That the repertoire is whole is held against the code: every call that stands in the package
is made, or is an operator's own.
"""

from __future__ import annotations

import asyncio
import runpy
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from fareway.app import create_app
from fareway.caller import Allowance
from fareway.keys import create_key
from fareway.lake import ROLLUP_COLUMNS
from fareway.policy_store import PolicyStore
from fareway.proposal import with_cuts
from fareway.settings import Settings
from fareway.wiring import Gateway, build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import POLICY_FILE, a_chat
from tests.template.aws_calls import (
    ROOT,
    Calls,
    allowed,
    covers,
    environment,
    listening,
    written_sites,
)
from tests.unit.test_app import FixedScorer

#: S3 says of an object that is not there that it is forbidden, unless the bucket may be listed.
#: docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
MISSING_OBJECTS = {("s3:ListBucket", "LedgerBucket")}
#: What Athena does with the rights of whoever asks: the table's columns, the events, the results.
#: docs.aws.amazon.com/athena/latest/ug: s3-permissions, fine-grained-access-to-glue-resources
ATHENA = {
    *(
        (f"glue:{action}", target)
        for action in ("GetDatabase", "GetPartitions", "GetTable")
        for target in ("catalog", "database/LakeDatabase", "table/LakeDatabase/CostEvents")
    ),
    *(
        (f"s3:{action}", "LedgerBucket")
        for action in ("GetBucketLocation", "ListBucket", "ListBucketMultipartUploads")
    ),
    ("s3:GetObject", "LedgerBucket/events/*"),
    *(
        (f"s3:{action}", "LedgerBucket/athena-results/*")
        for action in ("AbortMultipartUpload", "GetObject", "ListMultipartUploadParts", "PutObject")
    ),
}
#: Rights that no call of ours shows: AWS's own services use them for the function.
BEHIND = {
    "ApiFunction": MISSING_OBJECTS,
    "RollupFunction": ATHENA,
    "TuneFunction": ATHENA | MISSING_OBJECTS,
}
#: Run by a person at the command line, with that person's rights.
OPERATORS = (
    "budget.spent_usd:",
    "keys._found:",
    "keys._set:",
    "keys.create_key:",
    "keys.list_keys:",
    "ledger._put_batch:",
    "ledger.replay_bucket:",
    "policy_store.PolicyStore._put:",
)

TABLES = {
    "Keys": "key_hash",
    "Spend": "counter",
    "DecisionCache": "key",
    "Sessions": "session",
    "Decisions": "id",
    "Circuits": "circuit",
}


class World:
    """The template's resources in moto, and two aggregators."""

    def __init__(
        self, url: str, aggregators: dict[str, str], patch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        self.url, self.aggregators, self.patch, self.folder = url, aggregators, patch, folder

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


@pytest.fixture
def world(aws, monkeypatch, tmp_path):
    httpx.post(f"{aws}/moto-api/reset").raise_for_status()
    athena_is(aws, progression="immediate")
    dynamodb, s3, firehose = (boto3.client(name) for name in ("dynamodb", "s3", "firehose"))
    for name, key in TABLES.items():
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )
    s3.create_bucket(Bucket="ledgerbucket")
    firehose.create_delivery_stream(
        DeliveryStreamName="LedgerStream",
        S3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": "arn:aws:s3:::ledgerbucket",
        },
    )
    boto3.client("secretsmanager").create_secret(
        Name="UpstreamSecret", SecretString='{"tokenmix": "k", "openrouter": "k"}'
    )
    boto3.client("athena").create_work_group(
        Name="Workgroup",
        Configuration={"ResultConfiguration": {"OutputLocation": "s3://ledgerbucket/x/"}},
    )
    with (
        serve(create_simulator("tokenmix", 0)) as one,
        serve(create_simulator("openrouter", 0)) as two,
    ):
        yield World(aws, {"tokenmix": one, "openrouter": two}, monkeypatch, tmp_path)
    athena_is(aws, progression="immediate")
    httpx.post(f"{aws}/moto-api/reset").raise_for_status()


def stand_in(world: World, resources: dict[str, Any], function: str) -> None:
    """Makes this process's environment the function's."""
    parameters = {
        "Stage": "test",
        "TokenMixBaseUrl": world.aggregators["tokenmix"] + "/v1",
        "OpenRouterBaseUrl": world.aggregators["openrouter"] + "/v1",
        "CacheBudgetMs": "5000",
        "LakeDatabase": "lake",
    }
    for name, value in environment(resources, function, parameters).items():
        world.patch.setenv(name, value)


# The repertoires


async def requests(world: World) -> Calls:
    """All that a request may come to: memory, budgets, rates, breakers, fallbacks, feedback."""
    policy = world.folder / "one.toml"
    shipped = POLICY_FILE.read_text(encoding="utf-8")
    policy.write_text(with_cuts(shipped, "one", (1.5, 2.5, 3.5, 4.5)), encoding="utf-8")
    PolicyStore.at(boto3.client("s3"), "s3://ledgerbucket/policies").apply(policy)
    allowance = Allowance(daily_usd=100, monthly_usd=100, requests_per_minute=1000)
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
            boto3.client("firehose").delete_delivery_stream(DeliveryStreamName="LedgerStream")
            await ask(client, "the stream is gone")
        await gateway.close()
    calls.rights.discard(("firehose:DeleteDeliveryStream", "LedgerStream"))  # the test's own
    return calls


def patient(gateway: Gateway) -> None:
    """However slow the machine is, no budget of time runs out."""
    gateway.router.judge.verdicts.scorer = FixedScorer()
    gateway.router.dispatcher.circuits.budget_s = 60  # type: ignore[attr-defined]
    for part in (gateway.keys, gateway.rates, gateway.budgets, gateway.router.ledger):
        part.budget_s = 60  # type: ignore[attr-defined,union-attr]


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


async def rollup(world: World) -> Calls:
    """A day with events, and a query that takes too long."""
    row = {"day": "2026-11-24", "tier": "cheap", "lane": "standard", "cost_usd": "0.1"}
    world.athena_answers(list(ROLLUP_COLUMNS), [row])
    with listening() as calls:
        module = runpy.run_path(str(ROOT / "functions" / "rollup" / "handler.py"))
        handle = module["handler"]
        assert handle({}, None) == {"2026-11-24": 1}
        module["athena"].timeout_s = -1
        athena_is(world.url, progression="manual", times=9)
        with pytest.raises(Exception, match="no answer within"):
            handle({}, None)
    return calls


def athena_is(url: str, **transition: Any) -> None:
    """How soon a query is over: after so many looks at it, or at once."""
    order = {"model_name": "athena::execution", "transition": transition}
    httpx.post(f"{url}/moto-api/state-manager/set-transition", json=order).raise_for_status()


async def tune(world: World) -> Calls:
    """A week without requests: a report, and a policy that is in force; then too slow a query."""
    with listening() as calls:
        handle = runpy.run_path(str(ROOT / "functions" / "tune" / "handler.py"))["handler"]
        assert handle({}, None)["requests"] == 0
        world.patch.setattr("fareway.athena.time.monotonic", iter(range(0, 10**6, 1000)).__next__)
        athena_is(world.url, progression="manual", times=9)
        with pytest.raises(Exception, match="no answer within"):
            handle({}, None)
    return calls


REPERTOIRES: dict[str, Callable[[World], Coroutine[Any, Any, Calls]]] = {
    "ApiFunction": requests,
    "RollupFunction": rollup,
    "TuneFunction": tune,
}
FUNCTIONS = list(REPERTOIRES)


@pytest.fixture
def made(world, resources):
    """A function's calls, of its whole repertoire."""

    def run(function: str) -> Calls:
        stand_in(world, resources, function)
        return asyncio.run(REPERTOIRES[function](world))

    return run


def test_every_function_has_a_repertoire(resources):
    functions = {n for n, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    assert functions == set(FUNCTIONS) == set(BEHIND), "write what it calls in REPERTOIRES"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_call_without_a_right_and_no_right_without_a_call(resources, made, function):
    rights, calls = allowed(resources, function), made(function)
    SITES.update(calls.sites)
    forbidden = {call for call in calls.rights if not any(covers(right, call) for right in rights)}
    assert not forbidden, "calls that the role does not allow"
    used = {right for right in rights if any(covers(right, call) for call in calls.rights)}
    assert rights - used == BEHIND[function] - used, "rights that nothing needs, or that lack"


#: Where calls were made, of all repertoires.
SITES: set[str] = set()


def test_every_call_that_is_written_was_made(request):
    """Runs after the repertoires, which it takes together."""
    ran = [i for i in request.session.items if "no_call_without_a_right" in i.name]
    if len(ran) < len(FUNCTIONS):
        pytest.skip("it needs the repertoires' tests beside it")
    never = {s for s in written_sites() - SITES if not s.startswith(OPERATORS)}
    assert not never, "calls in the code that no repertoire makes"


def test_what_is_an_operators_own_is_still_there():
    written = written_sites()
    assert [name for name in OPERATORS if not any(s.startswith(name) for s in written)] == []
