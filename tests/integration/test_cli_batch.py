"""`fareway batch`, as it is typed, against the simulated providers."""

import sqlite3

import pytest
from typer.testing import CliRunner

from fareway.batch.store import Folder
from fareway.cli import app
from local.aggregator import create_app as aggregator_app
from local.batch import create_app
from local.batch_simulation import answer_to
from local.serving import serve
from tests.batching import a_file, answers

HARD = "Prove rigorously that there are infinitely many primes of the form 4n + 3, in two ways."
EASY = "What is the capital of France?"


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A function that types a command, and the simulation of the providers."""
    server = create_app()
    with serve(server) as url, serve(aggregator_app("tokenmix", latency_scale=0)) as at:
        monkeypatch.setenv("FAREWAY_OPENAI_BASE_URL", f"{url}/openai/v1")
        monkeypatch.setenv("FAREWAY_ANTHROPIC_BASE_URL", f"{url}/anthropic/v1")
        monkeypatch.setenv("FAREWAY_TOKENMIX_BASE_URL", f"{at}/v1")
        for name in ("OPENAI", "ANTHROPIC", "TOKENMIX"):
            monkeypatch.setenv(f"{name}_API_KEY", "k")
        monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
        monkeypatch.setenv("COLUMNS", "200")
        file = tmp_path / "mine.csv"
        file.write_bytes(a_file(HARD, EASY, HARD + " Again."))

        def type_(command, *arguments, **options):
            return CliRunner().invoke(app, ["batch", command, str(file), *arguments], **options)

        yield type_, server.state.simulation


def test_a_run_plans_asks_sends_waits_and_collects(typed, tmp_path):
    type_, simulation = typed
    result = type_("run", "--poll", "0.01", input="y\n")
    assert result.exit_code == 0, result.output
    found = answers(Folder(tmp_path / "mine.batch"), "mine")
    assert [row["id"] for row in found] == ["0", "1", "2"]
    assert found[0]["answer"] == answer_to(HARD)
    assert found[1]["tier"] == "cheap"
    assert "3 rows: 3 succeeded" in result.output
    assert "1 rows were asked in real time" in result.output
    sent = len(simulation.jobs)
    assert type_("run", "--yes").exit_code == 0  # again: nothing is sent
    assert len(simulation.jobs) == sent


def test_a_plan_sends_nothing_and_needs_no_key(typed, monkeypatch):
    type_, simulation = typed
    for name in ("OPENAI", "ANTHROPIC", "TOKENMIX"):
        monkeypatch.delenv(f"{name}_API_KEY")
    result = type_("plan")
    assert result.exit_code == 0, result.output
    assert "estimate" in result.output
    assert "as if all had" in result.output
    assert simulation.calls == []
    refused = type_("run", "--yes")
    assert refused.exit_code == 1
    assert "OPENAI_API_KEY" in refused.output
    assert simulation.calls == []


def test_who_says_no_pays_nothing(typed):
    type_, simulation = typed
    assert type_("run", input="n\n").exit_code == 1
    assert simulation.calls == []


def test_a_job_can_be_looked_at_cancelled_and_collected(typed):
    type_, simulation = typed
    simulation.looks = 10**6
    assert type_("status").exit_code == 1  # nothing was planned yet
    assert type_("plan").exit_code == 0
    assert "waiting" in type_("status").output
    assert type_("collect").exit_code == 1
    assert type_("cancel").exit_code == 0
    assert "cancelled" in type_("run", "--yes").output
    assert "3 pending" in type_("collect").output
    assert simulation.jobs == {}


def test_two_runs_at_a_time_are_one_too_many(typed, tmp_path):
    type_, _ = typed
    (tmp_path / "mine.batch").mkdir()
    lock = sqlite3.connect(tmp_path / "mine.batch" / ".lock", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    result = type_("plan")
    lock.close()
    assert result.exit_code == 1
    assert "another process" in result.output


def test_a_file_without_prompts_is_refused_in_a_sentence(typed, tmp_path):
    type_, _ = typed
    (tmp_path / "mine.csv").write_text("name,age\nx,3\n")
    result = type_("plan")
    assert result.exit_code == 1
    assert "No column is called prompt" in result.output


def test_cost_events_go_to_the_ledgers_stream(typed, monkeypatch, aws):
    import boto3

    type_, _ = typed
    monkeypatch.setenv("FAREWAY_LEDGER_STREAM", "events")
    boto3.client("s3").create_bucket(Bucket="lake")
    boto3.client("firehose").create_delivery_stream(
        DeliveryStreamName="events",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::1:role/x",
            "BucketARN": "arn:aws:s3:::lake",
        },
    )
    result = type_("run", "--yes", "--poll", "0.01")
    assert result.exit_code == 0, result.output
    assert "3 cost events are in the ledger" in result.output
