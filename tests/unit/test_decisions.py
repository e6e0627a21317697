"""Decisions as they are asked for later, by their tenant and by the operator."""

import time

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
