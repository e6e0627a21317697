"""An unnamed session hangs on its first answer as its client has it: the words of the first choice,
whatever else the model said beside them."""

from __future__ import annotations

import json

import boto3
import pytest

from fareway.keys import key_hash
from tests.builders import a_completion
from tests.unit.test_remembering import QUESTION, TENANTS, World, ask, rate, tables  # noqa: F401
from tests.upstream import DONE, END, STREAM_HEAD, delta, event, part, response, upstream

MESSAGE = {"role": "assistant", "content": "It is on its way."}
CALL = {"id": "c", "type": "function", "function": {"name": "track", "arguments": "{}"}}


def whole(*messages):
    return a_completion(
        choices=[
            {"index": i, "message": message, "finish_reason": "stop"}
            for i, message in enumerate(messages)
        ]
    )


@pytest.fixture
def world(aws, tables):  # noqa: F811
    client = boto3.client("dynamodb")
    for tenant, key in TENANTS.items():
        item = {"key_hash": key_hash(key), "key_id": tenant, "tenant": tenant, "created_at": "2026"}
        client.put_item(TableName="keys", Item={k: {"S": v} for k, v in item.items()})
    return tables


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([MESSAGE | {"reasoning_content": "Hm, a parcel."}], id="it thought aloud"),
        pytest.param([MESSAGE | {"reasoning": "Hm, a parcel."}], id="in another field"),
        pytest.param([MESSAGE, {"role": "assistant", "content": "No idea."}], id="two choices"),
        pytest.param([MESSAGE | {"tool_calls": [CALL]}], id="it called a tool"),
    ],
)
async def test_a_thumb_down_on_the_first_answer_lifts_the_next(world, messages):
    with upstream() as scripted:

        async def script(_):
            yield response(json.dumps(whole(*messages)))

        scripted.script = script
        deployment = World(scripted.url, world)
        client = deployment.process()
        headers, completion = await ask(client, QUESTION)
        assert headers["x-fareway-tier"] == "cheap"
        rated = await rate(client, completion_id=completion["id"], rating="down")
        assert rated.json()["session_floor"] == "mid"
        headers, _ = await ask(client, QUESTION, MESSAGE["content"], "Do you sell socks?")
        assert headers["x-fareway-tier"] == "mid"
        await deployment.close()


async def test_the_same_for_a_stream(world):
    with upstream() as scripted:

        async def script(body):
            if not body.get("stream"):
                yield response(json.dumps(whole(MESSAGE)))
                return
            yield STREAM_HEAD + part(event(id="", choices=[], prompt_filter_results=[]))  # Azure's
            thought = {"role": "assistant", "reasoning_content": "Hm, a parcel."}
            yield part(event(choices=[{"index": 0, "delta": thought, "finish_reason": None}]))
            yield part(delta("It is "))
            yield part(delta("No idea.", index=1))
            yield part(delta("on its way."))
            for i in range(2):
                yield part(event(choices=[{"index": i, "delta": {}, "finish_reason": "stop"}]))
            yield part(DONE) + END

        scripted.script = script
        deployment = World(scripted.url, world)
        client = deployment.process()
        body = {"model": "fareway/auto", "stream": True}
        body["messages"] = [{"role": "user", "content": QUESTION}]
        auth = {"authorization": f"Bearer {TENANTS['acme']}"}
        answer = await client.post("/chat/completions", json=body, headers=auth)
        assert "[DONE]" in answer.text
        rated = await rate(client, completion_id="c1", rating="down")
        assert rated.json()["session_floor"] == "mid"
        headers, _ = await ask(client, QUESTION, MESSAGE["content"], "Do you sell socks?")
        assert headers["x-fareway-tier"] == "mid"
        await deployment.close()
