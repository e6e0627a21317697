"""Memory on the deployed stack: a support conversation by the real SDK, and its story in Athena."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import httpx
import openai
import pytest

from fareway.athena import Athena
from fareway.keys import create_key
from local import stack
from local.cloud import aws_env

QUESTION = "Where is my parcel? I ordered blue shoes two weeks ago and nothing has come."
TURNS = [
    QUESTION,
    "That's wrong, you didn't answer my question.",
    "No, that is still not what I asked.",
    "Thank you, that helps!",
    "What are your opening hours?",
    "Do you sell socks?",
    "Which colours do you have?",
]
TIERS = ["cheap", "mid", "premium", "mid", "mid", "cheap", "cheap"]


@pytest.fixture(scope="module")
def keys(deployed):
    dynamodb, table = deployed.client("dynamodb"), deployed.outputs["KeysTable"]
    return {tenant: create_key(dynamodb, table, tenant, tenant)[1] for tenant in ("shop", "rival")}


def client(deployed, key):
    return openai.OpenAI(base_url=deployed.base_url, api_key=key, max_retries=0)


def converse(sdk, turns, **options):
    """Each turn with the history so far -> the headers of the answers."""
    messages, told = [], []
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        raw = sdk.chat.completions.with_raw_response.create(
            model="fareway/auto", messages=messages, **options
        )
        told.append(raw.headers)
        answer = raw.parse().choices[0].message.content
        messages.append({"role": "assistant", "content": answer})
    return told


def rows(deployed, sql, expected):
    """What Athena says, once there are as many rows as expected."""
    athena = Athena(
        deployed.client("athena"),
        deployed.outputs["AthenaWorkgroup"],
        deployed.outputs["LedgerDatabase"],
    )
    give_up = time.monotonic() + 20
    while True:
        found = athena.run(sql)
        if len(found) >= expected or time.monotonic() > give_up:
            return found
        time.sleep(0.3)


@pytest.mark.parametrize("session", ["support-7", None], ids=["named", "by its opening"])
def test_a_support_conversation_and_its_story_in_the_ledger(deployed, keys, session):
    headers = {"x-fareway-session": session} if session else {}
    with client(deployed, keys["shop"]) as sdk:
        told = converse(sdk, TURNS, extra_headers=headers)
    assert [h["x-fareway-tier"] for h in told] == TIERS
    ids = ", ".join(f"'{h['x-fareway-decision-id']}'" for h in told)
    today = datetime.now(UTC).date()
    story = rows(
        deployed,
        "SELECT DISTINCT decision_id, occurred_at, session_hash, tier, follow_up, session_floor, "
        f"escalated FROM cost_events WHERE dt >= '{today}' AND decision_id IN ({ids}) "
        "ORDER BY occurred_at",
        len(TURNS),
    )
    assert [row["tier"] for row in story] == TIERS
    assert [row["follow_up"] for row in story][:4] == [
        None,
        "complaint",
        "complaint",
        "satisfied",
    ]
    assert [row["session_floor"] for row in story] == [
        None,
        "mid",
        "premium",
        "mid",
        "mid",
        None,
        None,
    ]
    assert len({row["session_hash"] for row in story}) == 1


def test_a_streamed_conversation_escalates_too(deployed, keys):
    with client(deployed, keys["shop"]) as sdk:
        messages, tiers = [], []
        for turn in ["Where is my refund for the green hat?", TURNS[1]]:
            messages.append({"role": "user", "content": turn})
            raw = sdk.chat.completions.with_raw_response.create(
                model="fareway/auto", messages=messages, stream=True
            )
            tiers.append(raw.headers["x-fareway-tier"])
            chunks = [c.choices[0].delta.content or "" for c in raw.parse() if c.choices]
            messages.append({"role": "assistant", "content": "".join(chunks)})
    assert tiers == ["cheap", "mid"]


def test_feedback_by_completion_id_lifts_its_session_and_another_tenant_sees_nothing(
    deployed, keys
):
    with client(deployed, keys["shop"]) as sdk, client(deployed, keys["rival"]) as rival:
        raw = sdk.chat.completions.with_raw_response.create(
            model="fareway/auto",
            messages=[{"role": "user", "content": "How do I change my delivery address?"}],
            extra_headers={"x-fareway-session": "thumbs"},
        )
        opinion = {"completion_id": raw.parse().id, "rating": "down", "reason": "unclear"}
        url = f"{deployed.base_url}/feedback"
        theirs = httpx.post(url, json=opinion, headers={"authorization": f"Bearer {rival.api_key}"})
        assert theirs.status_code == 404
        mine = httpx.post(url, json=opinion, headers={"authorization": f"Bearer {sdk.api_key}"})
        assert mine.json()["session_floor"] == "mid"
        for who, tier in [(sdk, "mid"), (rival, "cheap")]:
            raw = who.chat.completions.with_raw_response.create(
                model="fareway/auto",
                messages=[{"role": "user", "content": "Do you deliver to Spain?"}],
                extra_headers={"x-fareway-session": "thumbs"},
            )
            assert raw.headers["x-fareway-tier"] == tier


def test_a_derivative_is_found_across_requests(deployed, keys):
    first = "Can I return 3 pairs of shoes that I bought in March without the receipt?"
    again = "hello, can i return 5 pairs of shoes that I bought in June without the receipt, please"
    with client(deployed, keys["shop"]) as sdk:
        (told,) = converse(sdk, [first])
        assert told["x-fareway-cache"] == "none"
        (told,) = converse(sdk, [again])
    assert told["x-fareway-cache"] == "derivative"


def test_a_decision_is_explained_by_the_endpoint_and_the_command_line(deployed, keys):
    with client(deployed, keys["shop"]) as sdk:
        told = converse(sdk, ["Where is my blue hat?", TURNS[1]])
        id_ = told[1]["x-fareway-decision-id"]
        answer = httpx.get(
            f"{deployed.base_url}/decisions/{id_}",
            headers={"authorization": f"Bearer {sdk.api_key}"},
        )
    assert answer.json()["reasons"][-1].startswith("session raised to mid")
    env = os.environ | aws_env(stack.PORT)
    env["FAREWAY_DECISIONS_TABLE"] = deployed.outputs["DecisionsTable"]
    command = [sys.executable, "-c", "from fareway.cli import app; app()", "explain", id_, "--json"]
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == answer.json()
