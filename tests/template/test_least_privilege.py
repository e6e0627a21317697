"""Each function may do what its code does, and nothing besides.

Each function's whole repertoire runs with the environment that the template gives it, over moto,
where every resource has its name of the template. What is called is held against its role, both
ways. That the repertoire is whole is held against the code: every call that stands in the package
is made, or is an operator's own.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.template.aws_calls import LAKE, Calls, allowed, covers, written_sites
from tests.template.repertoires import REPERTOIRES
from tests.template.world import a_world

FUNCTIONS = list(REPERTOIRES)
#: S3 says of an object that is not there that it is forbidden, unless the bucket may be listed.
#: docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
MISSING_OBJECTS = {("s3:ListBucket", "LedgerBucket")}
#: Rights that no call shows.
BEHIND = dict.fromkeys(FUNCTIONS, MISSING_OBJECTS) | {
    "RollupFunction": set(),
    "PreflightFunction": set(),
}
#: Run by a person at the command line, with that person's rights.
OPERATORS = (
    "budget.spent_usd:",
    "doctor.deployed:",
    "inventory._a_key.look:",
    "inventory._bucket.look:",
    "inventory._stream.look:",
    "inventory._table.look:",
    "keys._found:",
    "keys._set:",
    "keys.list_keys:",
    "ledger.replay_bucket:",
    "policy_store.PolicyStore._put:",
)


@pytest.fixture
def world(aws, resources, monkeypatch, tmp_path):
    with a_world(resources, aws, monkeypatch, tmp_path) as world:
        yield world


@pytest.fixture
def made(world):
    """A function's calls, of its whole repertoire."""

    def run(function: str) -> Calls:
        world.stand_in(function)
        return asyncio.run(REPERTOIRES[function](world))

    return run


def test_every_function_has_a_repertoire(resources):
    functions = {n for n, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    assert functions == set(FUNCTIONS), "write what it calls in REPERTOIRES"


def test_the_lake_is_the_templates(resources):
    tables = {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::Glue::Table"}
    assert {
        table["TableInput"]["Name"]: (
            resource,
            table["TableInput"]["StorageDescriptor"]["Location"]["Fn::Sub"].split("/", 3)[3],
        )
        for resource, table in tables.items()
    } == LAKE


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
    assert not {s for s in SITES if s.startswith(OPERATORS)}, "an operator's own, but made"


def test_what_is_an_operators_own_is_still_there():
    written = written_sites()
    assert [name for name in OPERATORS if not any(s.startswith(name) for s in written)] == []
