"""Decisions as they are asked for later, by their tenant and by the operator."""

import json
import time

import boto3
import pytest
from typer.testing import CliRunner

from fareway.cli import app
from fareway.decisions import Decisions, Remembered
from fareway.escalate import Answered

TOLD = {
    "decision_id": "dec_1",
    "tier": "mid",
    "reasons": ["complexity 1", "session raised [to] mid"],
}
ONE = Remembered(
    "dec_1",
    TOLD,
    Answered("dec_1", "mid", "tokenmix", "claude-haiku-4.5", 10, 20, 0),
    "k",
    ("b1", "b2"),
    "s",
    "v",
    "chatcmpl-1",
)


@pytest.fixture
async def decisions(sdk, table):
    decisions = Decisions(sdk, table("decisions", "id"), 2)
    await decisions.keep("acme", ONE)
    return decisions


async def test_a_decision_is_found_by_its_own_id_and_its_completions(decisions):
    assert await decisions.get("acme", "dec_1") == ONE
    assert await decisions.get("acme", "resp_1") == ONE  # of /v1/responses
    assert await decisions.get("acme", "chatcmpl-1") == ONE


async def test_nothing_of_another_tenant_or_of_long_ago_is_found(decisions):
    assert await decisions.get("rival", "dec_1") is None
    assert await decisions.get("rival", "chatcmpl-1") is None
    assert await decisions.get("acme", "dec_2") is None
    decisions.now = lambda: time.time() + 31 * 24 * 3600
    assert await decisions.get("acme", "dec_1") is None


async def test_two_tenants_whose_upstreams_give_one_id_keep_their_own(decisions):
    theirs = Remembered("dec_2", TOLD, completion_id="chatcmpl-1")
    await decisions.keep("rival", theirs)
    assert (await decisions.get("rival", "chatcmpl-1")).decision_id == "dec_2"
    assert (await decisions.get("acme", "chatcmpl-1")).decision_id == "dec_1"


async def test_an_item_that_cannot_be_read_is_no_decision(decisions, logged):
    client = boto3.client("dynamodb")
    item = client.get_item(TableName="decisions", Key={"id": {"S": "dec_1"}})["Item"]
    value = json.loads(item["decision"]["S"])
    later = item | {"decision": {"S": json.dumps(value | {"field_of_a_later_version": 1})}}
    client.put_item(TableName="decisions", Item=later)
    assert await decisions.get("acme", "dec_1") == ONE
    for damage in (
        "no",
        "{}",
        "[]",
        json.dumps(value | {"answer": {"tier": "mid"}}),
    ):
        client.put_item(TableName="decisions", Item=item | {"decision": {"S": damage}})
        assert await decisions.get("acme", "dec_1") is None
    assert logged()[0]["message"] == "decision unreadable"


async def test_what_only_leads_to_a_decision_is_none(decisions):
    (name,) = (
        item["id"]["S"]
        for item in boto3.client("dynamodb").scan(TableName="decisions")["Items"]
        if "is" in item
    )
    for tenant in ("acme", "rival", None):
        assert await decisions.get(tenant, name) is None


@pytest.mark.parametrize("id_", ["", "d" * 5_000, "d" * 2_049, "é" * 2_000, "\ud800"])
async def test_what_cannot_be_an_id_is_not_asked_for(decisions, id_):
    assert await decisions.get("acme", id_) is None
    assert await decisions.get(None, id_) is None


def told(monkeypatch, *args):
    monkeypatch.setenv("FAREWAY_DECISIONS_TABLE", "decisions")
    return CliRunner().invoke(app, ["explain", *args])


def test_explain_tells_the_inputs_in_order(decisions, monkeypatch):
    result = told(monkeypatch, "dec_1")
    assert result.exit_code == 0
    assert result.stdout.startswith("1. complexity 1\n2. session raised [to] mid\n")


def test_explain_says_what_is_wrong(decisions, monkeypatch):
    result = told(monkeypatch, "dec_9")
    assert result.exit_code == 1
    assert "no decision dec_9" in result.output
