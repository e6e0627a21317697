"""Memory through the app: complaints, thumbs, repeats and derivatives, over DynamoDB's API."""

from __future__ import annotations

import json
from dataclasses import replace

import boto3
import httpx
import pytest

from fareway.app import create_app
from fareway.decisions import Decisions
from fareway.keys import key_hash
from fareway.memory import Memory, Recalled
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import a_chat
from tests.unit.test_app import FixedScorer

QUESTION = "Where is my parcel with the blue shoes, please? It has been two weeks now."
COMPLAINT = "That is wrong, you did not answer my question."
TENANTS = {"acme": "fw-acme", "rival": "fw-rival"}


@pytest.fixture(scope="module")
def simulator():
    with serve(create_simulator("tokenmix", 0)) as url:
        yield url


@pytest.fixture
def tables(table):
    return {
        "keys_table": table("keys", "key_hash"),
        "cache_table": table("cache", "key"),
        "sessions_table": table("sessions", "session"),
        "decisions_table": table("decisions", "id"),
    }


class World:
    """A deployment: any number of processes over the same tables."""

    def __init__(self, simulator, tables):
        self.settings = Settings(
            upstream_keys={"tokenmix": "k"},
            base_urls={"tokenmix": f"{simulator}/v1"},
            cache_budget_ms=10_000,
            **tables,
        )
        self.gateways = []

    def process(self):
        gateway = build(self.settings)
        gateway.scoring.scorer = FixedScorer()
        gateway.keys.budget_s = 20  # a busy machine's moto is no DynamoDB
        self.gateways.append(gateway)
        transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://fareway/v1")

    async def close(self):
        for gateway in self.gateways:
            await gateway.close()


@pytest.fixture
async def world(simulator, tables):
    httpx.post(f"{simulator}/_sim/reset").raise_for_status()
    client = boto3.client("dynamodb")
    for tenant, key in TENANTS.items():
        item = {"key_hash": key_hash(key), "key_id": tenant, "tenant": tenant, "created_at": "2026"}
        client.put_item(TableName="keys", Item={k: {"S": v} for k, v in item.items()})
    world = World(simulator, tables)
    yield world
    await world.close()


async def ask(client, *turns, tenant="acme", session=None, **fields):
    """Asks with a history of user turns and answers -> (headers, completion)."""
    messages = [
        {"role": "user" if i % 2 == 0 else "assistant", "content": turn}
        for i, turn in enumerate(turns)
    ]
    headers = {"authorization": f"Bearer {TENANTS[tenant]}"}
    headers |= {"x-fareway-session": session} if session else {}
    body = a_chat(messages=messages, **fields)
    answer = await client.post("/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers, answer.json()


def said(completion):
    return completion["choices"][0]["message"]["content"]


async def rate(client, tenant="acme", **opinion):
    headers = {"authorization": f"Bearer {TENANTS[tenant]}"}
    return await client.post("/feedback", json=opinion, headers=headers)


@pytest.mark.parametrize("session", ["chat-7", None])
async def test_a_support_conversation_goes_up_with_complaints_and_down_with_peace(world, session):
    history, tiers = [], []
    turns = [QUESTION, COMPLAINT, "No, that is still wrong!", "Thank you, that helps!"]
    turns += ["And when does the shop open?", "Do you sell socks?", "Which sizes are there?"]
    for turn in turns:
        client = world.process()  # no process remembers for another
        headers, completion = await ask(client, *history, turn, session=session)
        tiers.append(headers["x-fareway-tier"])
        history += [turn, said(completion)]
    assert tiers == ["cheap", "mid", "premium", "mid", "mid", "cheap", "cheap"]


async def test_a_client_that_sends_no_history_is_heard_in_its_named_session(world):
    client, tiers = world.process(), []
    for turn in (QUESTION, COMPLAINT, "Thank you, that helps!", "Do you sell socks?"):
        headers, _ = await ask(client, turn, session="bare")
        tiers.append(headers["x-fareway-tier"])
    assert tiers == ["cheap", "mid", "cheap", "cheap"]


async def test_strangers_who_open_alike_do_not_share_a_complaint(world):
    client = world.process()
    _, first = await ask(client, QUESTION)
    headers, _ = await ask(client, QUESTION, said(first), COMPLAINT)
    assert headers["x-fareway-tier"] == "mid"
    headers, _ = await ask(client, QUESTION, "Another answer.", "Do you sell socks?")
    assert headers["x-fareway-tier"] == "cheap"


async def test_two_tenants_share_nothing_with_equal_prompts_and_session_names(world):
    client = world.process()
    _, first = await ask(client, QUESTION, session="s")
    await ask(client, QUESTION, said(first), COMPLAINT, session="s")
    headers, _ = await ask(client, "Do you sell socks?", session="s", tenant="rival")
    assert headers["x-fareway-tier"] == "cheap"
    headers, _ = await ask(client, QUESTION, tenant="rival")
    assert headers["x-fareway-cache"] == "none"


async def test_another_tenants_decision_is_not_there(world):
    client = world.process()
    headers, completion = await ask(client, QUESTION)
    for id_ in (headers["x-fareway-decision-id"], completion["id"]):
        theirs = {"authorization": "Bearer fw-rival"}
        assert (await client.get(f"/decisions/{id_}", headers=theirs)).status_code == 404
        assert (await rate(client, "rival", decision_id=id_, rating="down")).status_code == 404
        mine = {"authorization": "Bearer fw-acme"}
        assert (await client.get(f"/decisions/{id_}", headers=mine)).status_code == 200


async def test_a_thumb_down_lifts_its_own_session_and_not_the_tenant(world):
    client = world.process()
    headers, _ = await ask(client, QUESTION, session="mine")
    rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert rated.json()["session_floor"] == "mid"
    assert rated.json()["votes"] == {"down": 1, "up": 0, "quorum": 2}
    again = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert again.json()["votes"]["down"] == 1
    mine, _ = await ask(world.process(), "Do you sell socks?", session="mine")
    assert mine["x-fareway-tier"] == "mid"
    theirs, _ = await ask(world.process(), QUESTION, session="theirs")
    assert theirs["x-fareway-tier"] == "cheap"


async def test_a_quorum_raises_the_prompt_and_its_derivatives_for_everyone_in_the_tenant(world):
    client = world.process()
    for session in ("one", "two"):
        headers, _ = await ask(client, QUESTION, session=session)
        rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert rated.json()["raised"] == "mid"
    repeated = QUESTION.lower().replace("please", "").replace("!", "")
    for text, hit in [(QUESTION, "table"), (repeated, "derivative"), (repeated, "table")]:
        headers, _ = await ask(world.process(), text, session=f"other-{hit}")
        assert (headers["x-fareway-tier"], headers["x-fareway-cache"]) == ("mid", hit)
        assert "users complained" in headers["x-fareway-reason"]
    here, _ = await ask(client, QUESTION, session="here")
    assert here["x-fareway-tier"] == "mid"
    other, _ = await ask(world.process(), QUESTION, tenant="rival")
    assert other["x-fareway-tier"] == "cheap"


async def test_votes_on_a_prompt_and_its_derivatives_are_one_count(world):
    client = world.process()
    for session, text in [("one", QUESTION), ("two", f"Hello! {QUESTION.upper()}")]:
        headers, _ = await ask(client, text, session=session)
        rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert headers["x-fareway-cache"] == "derivative"
    assert "that of a prompt which this one repeats" in headers["x-fareway-reason"]
    assert rated.json()["raised"] == "mid"
    for text in (QUESTION, f"Hello! {QUESTION.upper()}", f"{QUESTION} Thanks a lot!"):
        headers, _ = await ask(world.process(), text)
        assert headers["x-fareway-tier"] == "mid"


async def test_votes_on_a_derivative_raise_it_though_its_root_is_gone(world):
    client, repeated = world.process(), f"Hello! {QUESTION.upper()}"
    await ask(client, QUESTION)
    headers, _ = await ask(client, repeated)
    assert headers["x-fareway-cache"] == "derivative"
    dynamodb = boto3.client("dynamodb")
    for item in dynamodb.scan(TableName="cache")["Items"]:
        if "signature" in item or item["key"] == item["root"]:
            dynamodb.delete_item(TableName="cache", Key={"key": item["key"]})
    for session in ("one", "two"):
        headers, _ = await ask(world.process(), repeated, session=session)
        assert headers["x-fareway-cache"] == "table"
        rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert rated.json()["raised"] == "mid"
    headers, _ = await ask(world.process(), repeated, session="three")
    assert headers["x-fareway-tier"] == "mid"


async def test_a_read_that_fails_takes_no_correction_back(world):
    client = world.process()
    for session in ("one", "two"):
        headers, _ = await ask(client, QUESTION, session=session)
        rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert rated.json()["raised"] == "mid"

    async def failed(*_):
        return Recalled(failed=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "recall", failed)
        headers, _ = await ask(world.process(), QUESTION, session="three")
    assert headers["x-fareway-tier"] == "cheap"
    headers, _ = await ask(world.process(), QUESTION, session="four")
    assert headers["x-fareway-tier"] == "mid"


async def test_complaints_in_conversations_count_towards_the_quorum(world):
    client = world.process()
    for session in ("one", "two"):
        _, completion = await ask(client, QUESTION, session=session)
        await ask(client, QUESTION, said(completion), COMPLAINT, session=session)
    headers, _ = await ask(world.process(), QUESTION, session="three")
    assert headers["x-fareway-tier"] == "mid"


async def test_a_complaint_is_no_vote_on_the_answer_of_another_conversation(world):
    client, other = world.process(), "Write me a short rhyme for the birthday of my old friend."
    for user in ("ann", "bob"):
        _, mine = await ask(client, QUESTION, user=user)
        await ask(client, other, user=user)
        # both chats are the user's one session; the complaint is of the first chat's answer
        await ask(client, QUESTION, said(mine), COMPLAINT, user=user)
    headers, _ = await ask(world.process(), other, user="eve")
    assert headers["x-fareway-tier"] == "cheap"


async def test_one_users_many_sessions_are_one_vote(world):
    client = world.process()
    for session in ("one", "two", "three"):
        headers, _ = await ask(client, QUESTION, session=session, user="ann")
        rated = await rate(client, decision_id=headers["x-fareway-decision-id"], rating="down")
    assert rated.json()["votes"]["down"] == 1


async def test_those_who_are_glad_count_against_a_quorum(world):
    client = world.process()
    for session, rating in [("one", "up"), ("two", "down"), ("three", "down")]:
        headers, _ = await ask(client, QUESTION, session=session)
        rated = await rate(client, completion_id=headers["x-fareway-decision-id"], rating=rating)
    assert rated.json()["votes"] == {"down": 2, "up": 1, "quorum": 2}
    assert rated.json()["raised"] is None


@pytest.mark.parametrize("pin", ["fareway/cheap", "fareway/auto"])
async def test_a_sensitive_prompt_one_edit_from_a_harmless_one_takes_its_lane(world, pin):
    client = world.process()
    harmless = "How do I make a quick cake for my boss, please tell me now?"
    await ask(client, harmless)
    for text in (
        harmless.replace("cake", "sensitive cake"),
        harmless.replace("quick", "sensitive"),
        f"{harmless} It is a sensitive thing.",
    ):
        headers, _ = await ask(client, text, model=pin)
        assert headers["x-fareway-lane"] == "sensitive"
        assert headers["x-fareway-tier"] == "premium"


async def test_a_derivative_that_adds_a_hard_task_keeps_its_own_complexity(world):
    client = world.process()
    await ask(client, QUESTION)
    headers, _ = await ask(client, f"{QUESTION} This is complexity 5 work.")
    assert headers["x-fareway-tier"] == "premium"


async def test_a_decision_tells_every_input_that_moved_it_in_order(world):
    client = world.process()
    _, first = await ask(client, QUESTION, session="s")
    headers, completion = await ask(client, QUESTION, said(first), COMPLAINT, session="s")
    mine = {"authorization": "Bearer fw-acme"}
    for id_ in (headers["x-fareway-decision-id"], completion["id"]):
        told = (await client.get(f"/decisions/{id_}", headers=mine)).json()
        assert told["decision_id"] == headers["x-fareway-decision-id"]
    assert told["reasons"] == [
        "complexity 1 (score 1.00)",
        "session raised to mid: the last answer was complained of",
    ]
    assert (told["follow_up"], told["session_floor"], told["tier"]) == ("complaint", "mid", "mid")
    assert told["served_model"] == headers["x-fareway-served-model"]
    assert told["status"] == 200
    assert told["reason"] == headers["x-fareway-reason"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rating": "down"}, "decision_id"),
        ({"decision_id": "dec_1"}, "rating"),
        ({"decision_id": "dec_1", "rating": "meh"}, "rating"),
        ({"decision_id": "dec_1", "score": 7}, "score"),
        ({"decision_id": 5, "rating": "up"}, "decision_id"),
        ({"decision_id": "", "rating": "up"}, "decision_id"),
    ],
)
async def test_feedback_that_cannot_be_read_is_told_what_to_mend(world, body, param):
    answer = await rate(world.process(), **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_feedback_needs_a_key(world):
    answer = await world.process().post("/feedback", json={"decision_id": "d", "rating": "up"})
    assert answer.status_code == 401


async def test_a_score_rates_and_a_users_words_are_not_kept(world):
    client = world.process()
    headers, _ = await ask(client, QUESTION)
    id_ = headers["x-fareway-decision-id"]
    told = (await rate(client, decision_id=id_, score=0.2, reason="my own secret words")).json()
    assert (told["rating"], told["reason"]) == ("down", None)
    told = (await rate(client, decision_id=id_, score=0.2, reason="incomplete")).json()
    assert told["reason"] == "incomplete"


@pytest.mark.parametrize("there", [True, False], ids=["a bucket", "none"])
async def test_an_opinion_goes_to_the_lake_where_there_is_one(world, there):
    world.settings = replace(world.settings, ledger_bucket="opinions-of-users")
    s3 = boto3.client("s3")
    if there:
        s3.create_bucket(Bucket="opinions-of-users")
    client = world.process()
    headers, completion = await ask(client, QUESTION)
    answer = await rate(client, completion_id=completion["id"], score=0.2, reason="wrong")
    assert answer.status_code == 200
    if there:
        listed = s3.list_objects_v2(Bucket="opinions-of-users", Prefix="feedback/dt=")["Contents"]
        ((key, body),) = [
            (o["Key"], s3.get_object(Bucket="opinions-of-users", Key=o["Key"])["Body"].read())
            for o in listed
        ]
        row = json.loads(body)
        assert row["decision_id"] == headers["x-fareway-decision-id"]
        assert (row["rating"], row["score"], row["reason"]) == ("down", 0.2, "wrong")
        assert key.split("/")[1] == f"dt={row['occurred_at'][:10]}"


async def test_a_bug_in_memory_loses_no_request(world, monkeypatch, logged):
    async def broken(*_):
        raise RuntimeError("unmistakable")

    client = world.process()
    await ask(client, QUESTION, session="s")
    monkeypatch.setattr(Decisions, "keep", broken)
    monkeypatch.setattr(Decisions, "get", broken)
    await ask(client, COMPLAINT, session="s")
    assert "RuntimeError" in {line.get("error") for line in logged()}


async def test_an_embeddings_decision_can_be_asked_for_too(world):
    client, mine = world.process(), {"authorization": "Bearer fw-acme"}
    body = {"model": "text-embedding-3-small", "input": "x"}
    answer = await client.post("/embeddings", json=body, headers=mine)
    id_ = answer.headers["x-fareway-decision-id"]
    told = (await client.get(f"/decisions/{id_}", headers=mine)).json()
    assert (told["decision_id"], told["reason"], told["status"]) == (id_, "passed through", 200)
    rated = (await rate(client, decision_id=id_, rating="down")).json()
    assert (rated["votes"], rated["session_floor"]) == (None, None)


async def test_no_word_of_a_conversation_is_in_a_table(world, tables):
    client = world.process()
    _, first = await ask(client, QUESTION, session="secretname", user="secretuser")
    await ask(client, QUESTION, said(first), COMPLAINT, session="secretname", user="secretuser")
    dynamodb = boto3.client("dynamodb")
    stored = json.dumps([dynamodb.scan(TableName=name)["Items"] for name in tables.values()])
    words = ("parcel", "shoes", "wrong", "secretname", "secretuser", said(first)[:20])
    assert [word for word in words if word in stored] == []


async def test_without_its_tables_a_request_is_served_and_the_failures_are_counted(
    world, tables, logged
):
    client = world.process()
    _, first = await ask(client, QUESTION, session="s")
    dynamodb = boto3.client("dynamodb")
    for name in ("cache_table", "sessions_table", "decisions_table"):
        dynamodb.delete_table(TableName=tables[name])
    fresh = world.process()
    try:
        headers, _ = await ask(fresh, QUESTION, said(first), COMPLAINT, session="s")
        # the conversation itself still tells
        assert headers["x-fareway-tier"] == "mid"
        rated = await rate(fresh, decision_id="dec_1", rating="down")
        assert rated.status_code == 503
        assert {"memory read failed", "session write failed"} <= {x["message"] for x in logged()}
    finally:
        for name, key in [("cache", "key"), ("sessions", "session"), ("decisions", "id")]:
            dynamodb.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            )
