"""`fareway doctor`: what it says of a sound deployment, and of each thing that can be wrong."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from typing import Any

import boto3
import httpx
import pytest
from typer.testing import CliRunner

from fareway.cli import app
from fareway.doctor import cheapest
from fareway.inventory import TABLES
from fareway.keys import create_key
from local.aggregator import BAD_KEY
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import POLICY_FILE, ROOT, a_policy


@pytest.fixture(scope="module")
def simulators():
    with (
        serve(create_simulator("tokenmix", 0)) as one,
        serve(create_simulator("openrouter", 0)) as two,
    ):
        yield {"tokenmix": one, "openrouter": two}


@pytest.fixture
def world(aws, table, simulators, monkeypatch):
    """A deployment in moto with all that it needs; both aggregators have a key."""
    for url in simulators.values():
        httpx.post(f"{url}/_sim/reset").raise_for_status()
    for name in ("OPENROUTER_API_KEY", "TOKENMIX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    dynamodb = boto3.client("dynamodb")
    for setting, variable, key, passes in TABLES:
        monkeypatch.setenv(variable, table(setting, key))
        if passes:
            dynamodb.update_time_to_live(
                TableName=setting,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
            )
    create_key(dynamodb, "keys_table", "app", "acme")
    s3, firehose = boto3.client("s3"), boto3.client("firehose")
    secrets = boto3.client("secretsmanager")
    s3.create_bucket(Bucket="ledger")
    firehose.create_delivery_stream(
        DeliveryStreamName="events",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/x",
            "BucketARN": "arn:aws:s3:::ledger",
        },
    )
    secret = secrets.create_secret(
        Name="upstream", SecretString=json.dumps({"tokenmix": "k", "openrouter": "k"})
    )["ARN"]
    count = {"VarCharValue": "requests"}, {"VarCharValue": "3"}
    httpx.post(
        f"{aws}/moto-api/static/athena/query-results",
        json={"results": [{"rows": [{"Data": [cell]} for cell in count]}] * 3},
    ).raise_for_status()
    boto3.client("athena").create_work_group(Name="queries")
    monkeypatch.setenv("FAREWAY_LEDGER_STREAM", "events")
    monkeypatch.setenv("FAREWAY_LEDGER_BUCKET", "ledger")
    monkeypatch.setenv("FAREWAY_POLICY_STORE", "s3://ledger/policies")
    monkeypatch.setenv("FAREWAY_UPSTREAM_SECRET", secret)
    monkeypatch.setenv("FAREWAY_LEDGER_DATABASE", "fareway_test")
    monkeypatch.setenv("FAREWAY_ATHENA_WORKGROUP", "queries")
    monkeypatch.setenv("FAREWAY_TOKENMIX_BASE_URL", simulators["tokenmix"] + "/v1")
    monkeypatch.setenv("FAREWAY_OPENROUTER_BASE_URL", simulators["openrouter"] + "/api/v1")
    yield monkeypatch
    for entry in s3.list_objects_v2(Bucket="ledger").get("Contents", []):
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")
    firehose.delete_delivery_stream(DeliveryStreamName="events")
    secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    boto3.client("athena").delete_work_group(WorkGroup="queries")


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Its exit code, and its checks by name."""
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert done.exit_code in (0, 1), done.output
    document = json.loads(done.stdout)
    assert document["ok"] is (done.exit_code == 0)
    return done.exit_code, {entry["check"]: entry for entry in document["checks"]}


def test_all_is_well_with_a_sound_deployment(world, simulators):
    code, checks = doctor()
    assert {name: c["state"] for name, c in checks.items()} == dict.fromkeys(checks, "ok")
    assert code == 0
    assert len(checks) == 18
    assert not any(c["fix"] for c in checks.values())
    assert checks["athena"]["told"].startswith("3 events")
    for name, url in simulators.items():
        (asked,) = httpx.get(f"{url}/_sim/requests").json()
        policy = a_policy()
        assert asked["model"] == policy.models[cheapest(policy, name)].ids[name]
        assert 0 < Decimal(checks[name]["cost_usd"]) < Decimal("0.0001")


def test_nobody_is_called_where_that_is_not_wanted(world, simulators):
    code, checks = doctor("--no-live")
    assert code == 0
    assert checks["tokenmix"]["state"] == checks["openrouter"]["state"] == "skipped"
    assert all(httpx.get(f"{url}/_sim/requests").json() == [] for url in simulators.values())


def test_names_that_lead_nowhere(world):
    expected = {setting.replace("_", " "): variable for setting, variable, *_ in TABLES}
    expected |= {
        "ledger stream": "FAREWAY_LEDGER_STREAM",
        "ledger bucket": "FAREWAY_LEDGER_BUCKET",
        "upstream keys": "FAREWAY_UPSTREAM_SECRET",
    }
    for variable in expected.values():
        world.setenv(variable, "gone")
    code, checks = doctor("--no-live")
    assert code == 1
    for check, variable in expected.items():
        assert checks[check]["state"] == "failed"
        assert variable in checks[check]["fix"]


def test_a_table_that_is_another_one(world):
    world.setenv("FAREWAY_CACHE_TABLE", "sessions_table")
    _, checks = doctor("--no-live")
    assert checks["cache table"]["told"] == "sessions_table is keyed by session, not key"


def test_events_that_wait_to_be_replayed(world):
    boto3.client("s3").put_object(Bucket="ledger", Key="ledger-fallback/2026-11-27/d.json")
    code, checks = doctor("--no-live")
    assert (code, checks["ledger bucket"]["state"]) == (0, "warning")
    assert checks["ledger bucket"]["fix"] == "fareway replay-events"


def test_a_key_table_that_opens_to_nobody(world):
    item = boto3.client("dynamodb").scan(TableName="keys_table")["Items"][0]
    item["revoked_at"] = {"S": "2026-11-27T00:00:00+00:00"}
    boto3.client("dynamodb").put_item(TableName="keys_table", Item=item)
    _, checks = doctor("--no-live")
    assert checks["a key"]["state"] == "warning"
    assert "fareway keys create" in checks["a key"]["fix"]


def test_a_key_that_the_aggregator_does_not_take(world):
    world.setenv("OPENROUTER_API_KEY", BAD_KEY)
    code, checks = doctor()
    assert (code, checks["openrouter"]["state"]) == (1, "failed")
    assert "OPENROUTER_API_KEY" in checks["openrouter"]["fix"]
    assert BAD_KEY not in json.dumps(checks)
    assert checks["tokenmix"]["state"] == "ok"


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ({"mode": "400"}, "policy.toml"),
        ({"mode": "429"}, "rate"),
        ({"mode": "refuse_500"}, "status page"),
    ],
)
def test_an_aggregator_that_fails(world, simulators, order, hint):
    answer = httpx.post(f"{simulators['tokenmix']}/_sim/fail", json=order)
    answer.raise_for_status()
    _, checks = doctor()
    assert checks["tokenmix"]["state"] == "failed"
    assert hint in checks["tokenmix"]["fix"]


def test_an_aggregator_that_is_nowhere(world):
    world.setenv("FAREWAY_TOKENMIX_BASE_URL", "http://127.0.0.1:1/v1")
    _, checks = doctor()
    assert "FAREWAY_TOKENMIX_BASE_URL" in checks["tokenmix"]["fix"]


def test_no_aggregator_has_a_key(world):
    world.setenv("FAREWAY_UPSTREAM_SECRET", "")
    code, checks = doctor()
    assert (code, checks["upstream keys"]["state"]) == (1, "failed")
    assert "OPENROUTER_API_KEY" in checks["upstream keys"]["fix"]


def test_a_key_of_a_batch_endpoint_is_no_aggregators(world):
    world.setenv("FAREWAY_UPSTREAM_SECRET", "")
    world.setenv("OPENAI_API_KEY", "k")
    code, checks = doctor()
    assert (code, checks["upstream keys"]["state"]) == (1, "failed")


def test_a_model_that_was_altered(world, tmp_path):
    folder = tmp_path / "classifier"
    shutil.copytree(ROOT / "models" / "classifier", folder)
    with (folder / "model.onnx").open("ab") as model:
        model.write(b"x")
    world.setenv("FAREWAY_CLASSIFIER_DIR", str(folder))
    code, checks = doctor("--no-live")
    assert (code, checks["classifier"]["state"]) == (1, "failed")
    assert "sha256" in checks["classifier"]["told"]


def test_a_policy_with_faults(world, tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(re.sub(r"cuts = \[[\d.]+", "cuts = [5.0", POLICY_FILE.read_text()))
    world.setenv("FAREWAY_POLICY", str(file))
    code, checks = doctor("--no-live")
    assert (code, checks["policy"]["state"]) == (1, "failed")
    assert "must ascend" in checks["policy"]["told"]


def test_a_setting_that_is_no_number(world):
    world.setenv("FAREWAY_DEADLINE_MS", "soon")
    code, checks = doctor("--no-live")
    assert (code, list(checks)) == (1, ["settings"])
    assert "FAREWAY_DEADLINE_MS" in checks["settings"]["told"]


def test_nobody_is_signed_in(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # which keeps the credentials it has found
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", "/nowhere")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        _, checks = doctor("--no-live")
    assert "aws configure" in checks["keys table"]["fix"]


def test_without_aws_what_is_here_is_checked(monkeypatch):
    for name in [*(variable for _, variable, *_ in TABLES), "FAREWAY_LEDGER_STREAM"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOKENMIX_API_KEY", "k")
    code, checks = doctor("--no-live")
    assert code == 0
    assert checks["classifier"]["state"] == checks["policy"]["state"] == "ok"
    assert checks["keys table"] == {
        "check": "keys table",
        "state": "skipped",
        "told": "FAREWAY_KEYS_TABLE is not set",
        "fix": "",
        "cost_usd": None,
    }


def test_a_person_reads_what_to_do(world):
    world.setenv("FAREWAY_KEYS_TABLE", "gone")
    done = CliRunner().invoke(app, ["doctor", "--no-live"])
    assert done.exit_code == 1
    assert "FAREWAY_KEYS_TABLE" in done.stdout
    assert "checks that failed: 2" in done.stdout  # the table, and a key in it


def test_the_settings_of_a_function_that_is_not_there(world):
    code, checks = doctor("--function", "gone", "--no-live")
    assert (code, checks["settings"]["state"]) == (1, "failed")
    assert "--function" in checks["settings"]["fix"]
