import boto3
import pytest

from fareway.aws import Aws
from fareway.caller import Allowance
from fareway.errors import KeysUnavailable, Unauthorised
from fareway.keys import KeyTable, OneKey, create_key, key_hash, list_keys, revoke_key


@pytest.fixture
def name(table):
    return table("keys", "key_hash")


async def test_a_created_key_opens_the_door_and_names_its_tenant(sdk, name):
    key_id, key = create_key(boto3.client("dynamodb"), name, "ci", "acme")
    caller = await KeyTable(sdk, name).caller(f"Bearer {key}")
    assert (caller.key_id, caller.tenant) == (key_id, "acme")
    assert "acme" not in caller.tenant_hash


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "fw-abc", "Bearer fw-unknown"]
)
async def test_any_other_key_is_refused(sdk, name, header):
    with pytest.raises(Unauthorised) as caught:
        await KeyTable(sdk, name).caller(header)
    assert caught.value.status == 401


async def test_a_revoked_key_is_refused_once_it_is_asked_for_again(sdk, name):
    client = boto3.client("dynamodb")
    key_id, key = create_key(client, name, "ci", "acme")
    clock = [0.0]
    keys = KeyTable(sdk, name, now=lambda: clock[0])
    await keys.caller(f"Bearer {key}")
    assert revoke_key(client, name, key_id)
    clock[0] = 61.0
    with pytest.raises(Unauthorised):
        await keys.caller(f"Bearer {key}")


async def test_a_table_that_is_down_keeps_known_keys_and_tells_the_others(sdk, name, monkeypatch):
    _, key = create_key(boto3.client("dynamodb"), name, "ci", "acme")
    clock = [0.0]
    keys = KeyTable(sdk, name, now=lambda: clock[0])
    caller = await keys.caller(f"Bearer {key}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    keys.aws = unreachable = Aws()
    clock[0] = 600.0
    assert await keys.caller(f"Bearer {key}") == caller
    with pytest.raises(KeysUnavailable) as caught:
        await keys.caller("Bearer fw-other")
    assert caught.value.status == 503
    await unreachable.close()


def test_the_table_holds_hashes_and_the_list_not_even_those(name):
    client = boto3.client("dynamodb")
    key_id, key = create_key(client, name, "ci", "acme")
    stored = str(client.scan(TableName=name)["Items"])
    assert key not in stored
    assert key_hash(key) in stored
    (record,) = list_keys(client, name)
    assert record.key_id == key_id
    assert key_hash(key) not in str(record)


def test_revoking_an_unknown_id_says_so(name):
    assert not revoke_key(boto3.client("dynamodb"), name, "nobody")


async def test_one_key_from_the_environment():
    assert (await OneKey("fw-1").caller("Bearer fw-1")).tenant == "local"
    for keys, header in ((OneKey("fw-1"), "Bearer fw-2"), (OneKey(""), "Bearer ")):
        with pytest.raises(Unauthorised):
            await keys.caller(header)


async def test_a_key_whose_limits_cannot_be_read_opens_nothing(sdk, name, logged):
    client = boto3.client("dynamodb")
    _, key = create_key(client, name, "ci", "acme")
    client.update_item(
        TableName=name,
        Key={"key_hash": {"S": key_hash(key)}},
        UpdateExpression="SET allowance = :bad",
        ExpressionAttributeValues={":bad": {"M": {"daily_usd": {"S": "a lot"}}}},
    )
    with pytest.raises(KeysUnavailable):
        await KeyTable(sdk, name).caller(f"Bearer {key}")
    assert [line["message"] for line in logged()] == ["key record unreadable"]


async def test_a_key_made_before_there_were_limits_has_none(sdk, name):
    item = {"key_hash": key_hash("fw-old"), "key_id": "k1", "tenant": "acme"}
    boto3.client("dynamodb").put_item(TableName=name, Item={n: {"S": v} for n, v in item.items()})
    assert (await KeyTable(sdk, name).caller("Bearer fw-old")).allowance == Allowance()


async def test_limits_come_back_as_they_were_given(sdk, name):
    limits = Allowance(daily_usd="0.123456789", requests_per_minute=60, tags={"team": "search"})
    _, key = create_key(boto3.client("dynamodb"), name, "ci", "acme", limits)
    assert (await KeyTable(sdk, name).caller(f"Bearer {key}")).allowance == limits
