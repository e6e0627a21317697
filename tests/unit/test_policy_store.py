"""Policies in S3: applied, compared, taken back, and read by a process that starts."""

import boto3
import pytest
from typer.testing import CliRunner

from fareway.cli import app
from fareway.errors import ConfigError
from fareway.policy import load_policy
from fareway.policy_store import PolicyConflict, PolicyStore, policy_in_force
from fareway.proposal import with_cuts
from fareway.settings import Settings
from tests.builders import POLICY_FILE

URI = "s3://ledger/policies"
SHIPPED = Settings().policy_file


@pytest.fixture
def store(aws, monkeypatch):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="ledger")
    monkeypatch.setenv("FAREWAY_POLICY_STORE", URI)
    yield PolicyStore.at(s3, URI)
    for entry in s3.list_objects_v2(Bucket="ledger").get("Contents", []):
        s3.delete_object(Bucket="ledger", Key=entry["Key"])
    s3.delete_bucket(Bucket="ledger")


@pytest.fixture
def a_file(tmp_path):
    def write(version, cuts=(1.5, 2.5, 3.5, 4.5), tables=""):
        file = tmp_path / f"{version}.toml"
        text = with_cuts(POLICY_FILE.read_text(encoding="utf-8"), version, cuts)
        file.write_text(
            text.replace('policy = ""\nshare = 0.0', tables or 'policy = ""\nshare = 0.0')
        )
        return file

    return write


def in_force():
    return load_policy(policy_in_force(Settings(policy_store=URI)))


def test_with_nothing_applied_the_shipped_policy_is_in_force(store):
    assert policy_in_force(Settings(policy_store=URI)) == SHIPPED
    assert policy_in_force(Settings()) == SHIPPED


def test_what_is_applied_is_in_force_and_is_taken_back_step_by_step(store, a_file):
    for version in ("one", "two"):
        store.apply(a_file(version))
        assert in_force().version == version
    assert store.rollback() == "one"
    assert in_force().version == "one"
    assert store.rollback() is None
    assert policy_in_force(Settings(policy_store=URI)) == SHIPPED
    with pytest.raises(PolicyConflict):
        store.rollback()


def test_to_apply_twice_is_to_apply_once(store, a_file):
    store.apply(a_file("one"))
    store.apply(a_file("one"))
    assert store.applied() == ["one"]


def test_a_version_names_one_policy_for_ever(store, a_file):
    store.apply(a_file("one"))
    with pytest.raises(PolicyConflict, match="another policy"):
        store.apply(a_file("one", cuts=(1.5, 2.5, 3.5, 4.4)))
    assert in_force().cuts == (1.5, 2.5, 3.5, 4.5)


def test_a_faulty_policy_is_not_applied(store, a_file):
    with pytest.raises(ConfigError):
        store.apply(a_file("bad", cuts=(3, 2, 1, 4)))
    assert store.applied() == []


def test_the_shadow_policy_comes_with_the_one_in_force(store, a_file):
    store.apply(a_file("two"))
    store.apply(a_file("one", tables='policy = "two.toml"\nshare = 0.1'))
    file = policy_in_force(Settings(policy_store=URI))
    assert load_policy(file.parent / load_policy(file).shadow.policy).version == "two"


def test_the_shadow_policy_need_not_have_been_in_force(store, a_file):
    a_file("two")
    store.apply(a_file("one", tables='policy = "two.toml"\nshare = 0.1'))
    assert store.applied() == ["one"]
    file = policy_in_force(Settings(policy_store=URI))
    assert load_policy(file.parent / load_policy(file).shadow.policy).version == "two"


def test_a_shadow_policy_that_is_nowhere_or_faulty_is_told_before_anything_is_applied(
    store, a_file
):
    one = a_file("one", tables='policy = "two.toml"\nshare = 0.1')
    assert "two.toml is neither beside" in run("apply", one).stderr
    a_file("two", cuts=(3, 2, 1, 4))
    assert "must ascend" in run("apply", one).stderr
    assert store.applied() == []


def test_a_store_that_does_not_answer_leaves_the_shipped_policy(aws, logged):
    assert policy_in_force(Settings(policy_store="s3://no-such-bucket/policies")) == SHIPPED
    assert logged()[0]["message"].startswith("stored policy unavailable")


@pytest.mark.parametrize("body", [b"{broken", b"[]", b"{}"])
def test_an_order_that_somebody_else_wrote_is_told_and_the_shipped_policy_serves(
    store, a_file, body
):
    store.client.put_object(Bucket="ledger", Key="policies/applied.json", Body=body)
    assert policy_in_force(Settings(policy_store=URI)) == SHIPPED
    for command in (("list",), ("rollback",), ("apply", a_file("one"))):
        assert "applied.json is not" in run(*command).stderr


def run(*arguments):
    return CliRunner().invoke(app, ["policy", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_commands_apply_compare_and_take_back(store, a_file):
    one, two = a_file("one"), a_file("two", cuts=(1.5, 2.5, 3.5, 4.4))
    assert "one is in force" in run("apply", one).stdout
    assert "two is in force" in run("apply", two).stdout
    assert run("list").stdout.split() == ["one", "two"]
    different = run("diff", "one", two)
    assert different.exit_code == 1
    assert different.stdout.splitlines() == [
        "version: one -> two",
        "complexity.cuts: [1.5, 2.5, 3.5, 4.5] -> [1.5, 2.5, 3.5, 4.4]",
    ]
    assert run("diff", "one", one).exit_code == 0
    assert "one is in force" in run("rollback").stdout
    assert run("diff", "one", "three").exit_code == 2


def test_a_store_must_have_an_address(aws):
    assert "s3://BUCKET/PREFIX" in run("rollback", "--store", "nowhere").stderr
