"""What a process restored from a snapshot has anew, and what it keeps."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from types import ModuleType

import boto3
import pytest

from fareway import snapshot
from fareway.policy_store import PolicyStore
from fareway.preflight import request
from fareway.settings import Settings
from fareway.snapshot import Door
from tests.builders import POLICY_FILE


@pytest.fixture(autouse=True)
def loop():
    """Mangum runs its requests in the thread's own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def secret(aws):
    client = boto3.client("secretsmanager")
    arn = client.create_secret(Name="upstream", SecretString='{"tokenmix": "sk-old-key"}')["ARN"]
    yield arn
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def door(secret):
    return Door(Settings(api_key="fw-test", upstream_secret=secret))


def upstream_keys(door):
    return {name: at.api_key for name, at in door.gateway.router.dispatcher.aggregators.items()}


def test_keys_that_were_changed_since_count(door, secret):
    changed = json.dumps({"tokenmix": "sk-new-key", "openrouter": "sk-new-key"})
    boto3.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=changed)
    assert upstream_keys(door) == {"tokenmix": "sk-old-key"}
    door.after_restore()
    assert upstream_keys(door) == {"tokenmix": "sk-new-key", "openrouter": "sk-new-key"}


def test_a_policy_that_was_applied_since_is_in_force(secret, tmp_path):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="ledger")
    door = Door(Settings(upstream_secret=secret, policy_store="s3://ledger/policies"))
    file = tmp_path / "policy.toml"
    version = door.gateway.policy.version
    file.write_text(POLICY_FILE.read_text().replace(f'"{version}"', '"since"'))
    PolicyStore.at(s3, "s3://ledger/policies").apply(file)
    assert door.gateway.policy.version == version
    door.after_restore()
    assert door.gateway.policy.version == "since"
    for entry in s3.list_objects_v2(Bucket="ledger")["Contents"]:
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")


def test_a_breaker_that_was_open_is_closed(door):
    breakers = door.gateway.router.dispatcher.circuits.breakers
    for _ in range(breakers.failures):
        breakers.failed("tokenmix", now=1e12)  # by the clock of the machine that made the snapshot
    door.after_restore()
    circuits = door.gateway.router.dispatcher.circuits
    assert circuits.breakers.allows("tokenmix", circuits.clock())


def test_no_client_and_no_cache_is_kept(door):
    before = door.gateway
    door.after_restore()
    after = door.gateway
    for part in ("aws", "http", "keys", "rates", "budgets", "router"):
        assert getattr(after, part) is not getattr(before, part), part
    assert after.router.judge.verdicts.memory is not before.router.judge.verdicts.memory


def test_the_classifier_is_not_loaded_again(door, monkeypatch):
    classifier = door.gateway.classifier
    assert classifier is not None
    monkeypatch.setattr("fareway.wiring.load_classifier", lambda _: pytest.fail("loaded again"))
    door.after_restore()
    assert door.gateway.scoring.scorer is door.gateway.classifier is classifier


def test_two_processes_of_one_snapshot_draw_different_lots(door):
    def restored() -> list[float]:
        random.seed(1)  # as the snapshot has it
        door.after_restore()
        return [random.random() for _ in range(4)]

    assert restored() != restored()


def test_where_the_secret_cannot_be_read_the_old_keys_go_on(door, secret, logged):
    client = boto3.client("secretsmanager")
    client.put_secret_value(SecretId=secret, SecretString="no JSON")
    door.after_restore()
    assert upstream_keys(door) == {"tokenmix": "sk-old-key"}
    assert "not made anew after a restore" in [line["message"] for line in logged()]


def test_the_same_handler_answers_before_and_after(door):
    """Lambda keeps the handler that it found at the start."""
    handler = door
    for _ in range(2):
        answer = handler(request("GET", "/healthz"), None)
        assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, "ok")
        handler.before_snapshot()
        handler.after_restore()


def test_lambda_is_told_of_both_hooks(aws, monkeypatch):
    told = {}
    library = ModuleType("snapshot_restore_py")
    library.register_before_snapshot = lambda hook: told.setdefault("before", hook)
    library.register_after_restore = lambda hook: told.setdefault("after", hook)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", library)
    monkeypatch.delitem(sys.modules, "fareway.snapshot")
    monkeypatch.setattr("fareway.snapshot", snapshot, raising=False)
    import fareway.snapshot as anew

    door = anew.Door(Settings())
    assert told == {"before": door.before_snapshot, "after": door.after_restore}
