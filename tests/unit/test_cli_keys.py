"""`fareway keys`: what it makes, shows, changes and refuses."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import boto3
import pytest
from typer.testing import CliRunner

from fareway.aws import Aws
from fareway.budget import Budgets
from fareway.caller import Allowance, Caller
from fareway.cli import app
from fareway.keys import list_keys


@pytest.fixture
def keys(table, monkeypatch):
    monkeypatch.setenv("FAREWAY_KEYS_TABLE", table("keys", "key_hash"))
    monkeypatch.setenv("FAREWAY_SPEND_TABLE", table("spend", "counter"))
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments):
        return CliRunner().invoke(app, ["keys", *arguments])

    return run


def record():
    (only,) = list_keys(boto3.client("dynamodb"), "keys")
    return only


ALL = [
    *("--daily-usd", "5", "--monthly-usd", "99.5", "--rpm", "60", "--tiers", "mid, cheap"),
    *("--models", "fareway/auto,gpt-4o-mini", "--over-budget", "degrade"),
    *("--tag", "team=search", "--tag", "env=prod"),
]


def test_a_key_is_made_with_its_limits(keys):
    result = keys("create", "--name", "ci", "--tenant", "acme", *ALL)
    assert result.exit_code == 0
    assert result.stdout.startswith("fw-")
    assert (record().name, record().tenant) == ("ci", "acme")
    assert record().allowance == Allowance(
        daily_usd=5,
        monthly_usd=Decimal("99.5"),
        requests_per_minute=60,
        tiers=("cheap", "mid"),
        models=("fareway/auto", "gpt-4o-mini"),
        over_budget="degrade",
        tags={"team": "search", "env": "prod"},
    )


def test_an_admins_key_is_made_shown_and_taken_back(keys):
    keys("create", "--name", "me", "--admin")
    assert record().allowance == Allowance(admin=True)
    assert "admin" in keys("list").stdout
    assert "no limits" in keys("update", record().key_id, "--no-admin").output
    assert record().allowance == Allowance()


def test_a_key_without_options_may_do_everything(keys):
    keys("create", "--name", "ci")
    assert record().allowance == Allowance()


def test_every_option_that_is_wrong_is_named(keys):
    result = keys(
        *("create", "--name", "ci", "--daily-usd", "lots", "--rpm", "0", "--tiers", "gold"),
        *("--models", "fareway/best", "--over-budget", "shrug"),
    )
    assert result.exit_code == 1
    for says in ("--daily-usd", "lots", "--rpm", "--tiers", "gold", "fareway/best", "shrug"):
        assert says in result.stderr
    assert list_keys(boto3.client("dynamodb"), "keys") == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--tag", "team"), "name=value"),
        (("--over-budget", "degrade", "--tiers", "premium"), "cheap tier"),
    ],
)
def test_a_slip_says_what_to_write(keys, options, says):
    result = keys("create", "--name", "ci", *options)
    assert result.exit_code == 1
    assert says in result.stderr


def test_an_update_changes_what_it_names_and_none_lifts_a_limit(keys):
    keys("create", "--name", "ci", *ALL)
    result = keys(
        "update", record().key_id, "--daily-usd", "7", "--monthly-usd", "none", "--tag", "none"
    )
    assert result.exit_code == 0
    changed = record().allowance
    assert (changed.daily_usd, changed.monthly_usd, changed.tags) == (7, None, {})
    assert (changed.requests_per_minute, changed.tiers) == (60, ("cheap", "mid"))


@pytest.mark.parametrize("arguments", [("nobody", "--rpm", "1"), ("nobody",)])
def test_an_update_of_nothing_or_nobody_is_a_clear_error(keys, arguments):
    result = keys("update", *arguments)
    assert result.exit_code == 1
    assert "nobody" in result.stderr or "--daily-usd" in result.stderr


def test_the_list_shows_limits_and_what_was_spent(keys):
    keys("create", "--name", "ci", "--daily-usd", "5", "--rpm", "60", "--tag", "team=search")
    known = record()

    async def spend():
        sdk = Aws()
        budgets = Budgets(sdk, "spend", budget_s=30, now=datetime.now(UTC).timestamp)
        caller = Caller(known.key_id, "default", known.allowance)
        await budgets.settle(await budgets.reserve(caller, Decimal(1)), Decimal("0.25"))
        await sdk.close()

    asyncio.run(spend())
    shown = keys("list").stdout
    for part in (known.key_id, "5 USD/day", "60/min", "team=search", "0.250000"):
        assert part in shown


def test_a_revoked_key_is_listed_as_such(keys):
    keys("create", "--name", "ci")
    assert keys("revoke", record().key_id).exit_code == 0
    assert record().revoked_at
    assert keys("revoke", "nobody").exit_code == 1
