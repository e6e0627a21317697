"""What a team's OpenAI client uses, through both doors of the deployed stack.

Buffered: API Gateway and Lambda, as MiniStack runs them. Streaming: `functions/api/stream.py` with
the deployed function's own environment, as the Lambda Web Adapter starts it (that itself cannot be
had here).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import ResponseCompletedEvent
from pydantic import BaseModel

from fareway.caller import Allowance
from fareway.keys import create_key
from local import stack
from local.cloud import ROOT, aws_env

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}
TIME = {
    "type": "function",
    "function": {"name": "time", "parameters": {"type": "object", "properties": {}}},
}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


#: Passed through. Equal requests to one model get equal answers, which routing need not give: on a
#: busy machine a classifier that is late sends a prompt to the sensitive lane.
ONE = "gpt-4o-mini"


class Answered(BaseModel):
    answer: str
    sure: bool


def a_key(deployed: Any, **limits: Any) -> str:
    client, table = deployed.client("dynamodb"), deployed.outputs["KeysTable"]
    return create_key(client, table, "protocol", "acme", Allowance(**limits))[1]


@pytest.fixture(scope="module")
def streaming_door(deployed: Any) -> Iterator[str]:
    """Its base URL."""
    name = next(
        f["FunctionName"]
        for f in deployed.client("lambda").list_functions()["Functions"]
        if "ApiFunction" in f["FunctionName"] or f["FunctionName"].endswith("api")
    )
    function = deployed.client("lambda").get_function_configuration(FunctionName=name)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    env = {
        **os.environ,
        **aws_env(stack.PORT),
        **function["Environment"]["Variables"],
        "PYTHONPATH": str(ROOT / "shared"),
        "AWS_LWA_PORT": str(port),
    }
    with subprocess.Popen(
        [sys.executable, "stream.py"],
        cwd=ROOT / "functions" / "api",
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as door:
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up and door.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        else:
            pytest.fail("the streaming door did not open")
        yield f"http://127.0.0.1:{port}/v1"
        door.terminate()


@pytest.fixture(params=["buffered", "streaming"])
def base_url(request: pytest.FixtureRequest, deployed: Any) -> str:
    if request.param == "buffered":
        return str(deployed.base_url)
    return str(request.getfixturevalue("streaming_door"))


@pytest.fixture(scope="module")
def key(deployed: Any) -> str:
    return a_key(deployed)


@pytest.fixture
def sdk(base_url: str, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
        yield client


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def ask(client: Any, text: str = "Count to three.", **options: Any) -> Any:
    options.setdefault("model", "fareway/auto")
    options.setdefault("messages", [user(text)])
    return client.chat.completions.create(**options)


def test_a_stream_and_its_usage(sdk: openai.OpenAI) -> None:
    whole = ask(sdk, model=ONE).choices[0].message.content
    chunks = [*ask(sdk, model=ONE, stream=True, stream_options={"include_usage": True})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert len([c for c in chunks if c.choices]) > 2
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens > 0) == ([], True)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_async_whole_and_streamed(base_url: str, key: str) -> None:
    async def both() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            whole = (await ask(client, model=ONE)).choices[0].message.content
            stream = await ask(client, model=ONE, stream=True)
            return whole, "".join([c.choices[0].delta.content or "" async for c in stream])

    whole, streamed = asyncio.run(both())
    assert whole == streamed != ""


def test_tools_are_called_side_by_side_and_their_results_answered(sdk: openai.OpenAI) -> None:
    messages: list[Any] = [user("What is the weather in Paris, and what time is it?")]
    first = ask(sdk, messages=messages, tools=[WEATHER, TIME]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert [c.function.name for c in first.message.tool_calls] == ["weather", "time"]
    assert json.loads(first.message.tool_calls[0].function.arguments) == {"town": "Paris"}
    messages.append(first.message.model_dump(exclude_none=True))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": "fine"}
        for call in first.message.tool_calls
    ]
    assert ask(sdk, messages=messages, tools=[WEATHER, TIME]).choices[0].message.content


def test_a_streamed_tool_call_comes_in_pieces(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(
        model="fareway/auto", messages=[user("The weather in Paris?")], tools=[WEATHER]
    ) as stream:
        for _ in stream:
            pass
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"town": "Paris"},
    )


def test_a_picture_goes_to_a_model_that_sees(sdk: openai.OpenAI) -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    raw = sdk.chat.completions.with_raw_response.create(
        model="fareway/auto", messages=[{"role": "user", "content": parts}]
    )
    assert raw.parse().choices[0].message.content
    assert "deepseek" not in raw.headers["x-fareway-served-model"]
    assert "cannot do vision" in raw.headers["x-fareway-reason"]


def test_a_schema_is_kept(sdk: openai.OpenAI) -> None:
    parsed = sdk.chat.completions.parse(
        model="fareway/auto", messages=[user("Is the sky blue?")], response_format=Answered
    )
    assert isinstance(parsed.choices[0].message.parsed, Answered)


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_and_several_choices(sdk: openai.OpenAI, stream: bool) -> None:
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 1, "n": 2, "seed": 7}
    answer = ask(sdk, stream=stream, **options)
    chunks = [*answer] if stream else [answer]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert {choice.index for choice in choices} == {0, 1}
    assert any(choice.logprobs and choice.logprobs.content for choice in choices)


def test_hints_that_a_model_refuses_are_dropped_and_it_says_so(sdk: openai.OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(
        model="fareway/premium",
        messages=[{"role": "developer", "content": "Be brief."}, user("Prove it.")],
        temperature=0.3,
        max_tokens=500,
        reasoning_effort="low",
    )
    assert raw.parse().choices[0].message.content
    assert "temperature" in raw.headers["x-fareway-adapted"]


def test_responses_whole_streamed_and_with_tools(sdk: openai.OpenAI) -> None:
    whole = sdk.responses.create(model=ONE, input="Count to three.")
    assert whole.status == "completed"
    assert whole.output_text
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    with sdk.responses.stream(model=ONE, input="Count to three.") as stream:
        events = [*stream]
    assert isinstance(events[-1], ResponseCompletedEvent)
    assert events[-1].response.output_text == whole.output_text
    assert len([e for e in events if e.type == "response.output_text.delta"]) > 2
    tool = {"type": "function", "strict": False, **WEATHER["function"]}  # type: ignore[dict-item]
    called = sdk.responses.create(model="fareway/auto", input="Weather in Paris?", tools=[tool])
    assert [item.type for item in called.output] == ["function_call"]


def test_responses_async(base_url: str, key: str) -> None:
    async def said() -> str:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            stream = await client.responses.create(
                model="fareway/auto", input=[user("Count to three.")], stream=True
            )
            deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
            return "".join(deltas)

    assert asyncio.run(said())


def test_embeddings_are_passed_through(sdk: openai.OpenAI) -> None:
    raw = sdk.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input=["one", "two"], encoding_format="float"
    )
    assert len(raw.parse().data) == 2
    assert Decimal(raw.headers["x-fareway-cost-usd"]) > 0
    assert "x-fareway-saving-usd" not in raw.headers
    with pytest.raises(openai.NotFoundError, match="Name an embedding model"):
        sdk.embeddings.create(model="fareway/auto", input="one")


def test_a_key_without_money_is_a_402_and_says_which_budget(base_url: str, deployed: Any) -> None:
    poor = a_key(deployed, daily_usd=Decimal("0.000001"))
    with (
        openai.OpenAI(base_url=base_url, api_key=poor) as client,
        pytest.raises(openai.APIStatusError, match="daily budget") as caught,
    ):
        ask(client)
    assert caught.value.status_code == 402
    assert caught.value.code == "budget_exceeded"


def test_a_key_is_held_to_its_rate_its_tiers_and_its_models(base_url: str, deployed: Any) -> None:
    bound = a_key(deployed, requests_per_minute=1_000, tiers=["cheap"], models=["fareway/auto"])
    with openai.OpenAI(base_url=base_url, api_key=bound, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="fareway/auto", messages=[user("Design a lock-free queue and prove it.")]
        )
        assert raw.headers["x-fareway-tier"] == "cheap"
        assert int(raw.headers["x-ratelimit-remaining-requests"]) < 1_000
        with pytest.raises(openai.PermissionDeniedError, match="may not use the model"):
            ask(client, model="openai/gpt-5")


def test_over_the_rate_is_a_429_that_says_when(base_url: str, deployed: Any) -> None:
    slow = a_key(deployed, requests_per_minute=1)
    with (
        openai.OpenAI(base_url=base_url, api_key=slow, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        [ask(client) for _ in range(3)]  # a minute may end between two of them
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"
