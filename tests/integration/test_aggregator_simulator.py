"""The simulated aggregators: what the demo and the failover tests stand on must be right itself."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal

import httpx
import openai
import pytest

from local.aggregator import create_app
from local.invoice import Usage, price_usd
from local.serving import serve

PROMPT = [{"role": "user", "content": "How long does a letter from Lyon to Oslo take?"}]
MODELS = {"openrouter": "deepseek/deepseek-v4-flash", "tokenmix": "deepseek-v4-flash"}


@pytest.fixture(scope="module", params=["openrouter", "tokenmix"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def url(name: str) -> Iterator[str]:
    with serve(create_app(name, latency_scale=0)) as url:
        yield url


@pytest.fixture(scope="module")
def _http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"authorization": "Bearer k"}, timeout=10) as client:
        yield client


@pytest.fixture
def client(_http: httpx.Client) -> httpx.Client:
    _http.post("/_sim/reset")
    return _http


def ask(client: httpx.Client, name: str, **over: object) -> httpx.Response:
    body = {"model": MODELS[name], "messages": PROMPT} | over
    return client.post("/v1/chat/completions", json=body)


def fail(client: httpx.Client, mode: str, **over: object) -> None:
    client.post("/_sim/fail", json={"mode": mode} | over).raise_for_status()


def test_the_openai_sdk_reads_an_answer_and_a_stream(client: httpx.Client, name: str) -> None:
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="k", max_retries=0) as sdk:
        whole = sdk.chat.completions.create(model=MODELS[name], messages=PROMPT)
        with sdk.chat.completions.create(
            model=MODELS[name],
            messages=PROMPT,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        listed = [model.id for model in sdk.models.list()]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert MODELS[name] in listed


def test_openrouter_alone_says_what_it_charged(client: httpx.Client, name: str) -> None:
    answer = ask(client, name).json()
    assert ("cost" in answer["usage"]) == (name == "openrouter")
    assert ("provider" in answer) == (name == "openrouter")


def test_a_stream_ends_with_done(client: httpx.Client, name: str) -> None:
    frames = ask(client, name, stream=True).text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    assert frames[0].startswith(": OPENROUTER") == (name == "openrouter")
    assert ('"usage": null' in frames[1]) == (name == "openrouter")


def test_equal_requests_get_equal_answers(client: httpx.Client, name: str) -> None:
    first, second = (ask(client, name).json() for _ in range(2))
    assert first["usage"] == second["usage"]
    assert first["choices"] == second["choices"]


def test_a_limit_cuts_the_answer(client: httpx.Client, name: str) -> None:
    answer = ask(client, name, max_completion_tokens=7).json()
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_long_prompt_is_cached_the_second_time(client: httpx.Client, name: str) -> None:
    long = [{"role": "user", "content": "a letter " * 1000}]
    cached = [
        ask(client, name, messages=long).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        for _ in range(2)
    ]
    assert cached == [0, 1024]


def test_json_is_json(client: httpx.Client, name: str) -> None:
    answer = ask(client, name, response_format={"type": "json_object"}).json()
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["answer"]


def test_the_invoice_is_the_sum_of_what_was_sent(client: httpx.Client, name: str) -> None:
    usages = [
        ask(client, name, messages=[{"role": "user", "content": "x" * n}]).json()["usage"]
        for n in range(1, 40)
    ]
    fail(client, "refuse_500", times=1)
    assert ask(client, name).status_code == 500
    expected = sum(
        price_usd(name, MODELS[name], Usage(u["prompt_tokens"], 0, u["completion_tokens"], 0))
        for u in usages
    )
    invoice = client.get("/_sim/invoice").json()
    assert Decimal(invoice["cost_usd"]) == expected > 0
    assert invoice["calls"] == invoice["models"][MODELS[name]]["calls"] == 39
    if name == "openrouter":
        assert sum(Decimal(str(u["cost"])) for u in usages) == expected


@pytest.mark.parametrize("authorization", ["", "Basic k", "Bearer bad-key"])
def test_a_key_is_required(client: httpx.Client, name: str, authorization: str) -> None:
    headers = {"authorization": authorization}
    body = {"model": MODELS[name], "messages": PROMPT}
    assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 401
    assert client.get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [
        ("refuse_500", 500, 500),
        ("429", 429, 429),
        ("error_in_200", 200, 502),
        ("401", 401, 401),
        ("400", 400, 400),
    ],
)
def test_errors_have_the_aggregators_shape(
    client: httpx.Client, name: str, mode: str, status: int, code: int
) -> None:
    fail(client, mode, times=1, retry_after=0.5)
    answer = ask(client, name)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == (code if name == "openrouter" else f"error_{code}")
    assert answer.headers.get("retry-after") == ("0.5" if mode == "429" else None)
    assert ask(client, name).status_code == 200


def test_a_proxy_may_answer_in_html(client: httpx.Client, name: str) -> None:
    fail(client, "html_502")
    answer = ask(client, name)
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")


def test_a_body_may_be_no_json(client: httpx.Client, name: str) -> None:
    fail(client, "invalid_json")
    with pytest.raises(ValueError, match="Unterminated"):
        ask(client, name).json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_may_be_lost(client: httpx.Client, name: str, stream: bool) -> None:
    fail(client, "drop")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, name, stream=stream)
    billed = client.get("/_sim/generations").json()
    assert [line["cut"] for line in billed] == ([True] if stream else [])


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_lost_on_its_way_is_billed(
    client: httpx.Client, name: str, stream: bool
) -> None:
    fail(client, "lost", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, name, stream=stream)
    whole = ask(client, name).json()["usage"]
    lost, sent = client.get("/_sim/generations").json()
    assert (lost["cut"], lost["cost_usd"]) == (False, sent["cost_usd"])
    assert client.get("/_sim/invoice").json()["completion_tokens"] == 2 * whole["completion_tokens"]


def test_of_a_stream_that_is_cut_what_was_sent_is_billed(client: httpx.Client, name: str) -> None:
    whole = ask(client, name).json()["usage"]["completion_tokens"]
    fail(client, "drop", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, name, stream=True)
    told = client.get("/_sim/invoice").json()["completion_tokens"]
    assert whole < told < 2 * whole


def test_each_choice_is_billed_and_the_prompt_once(client: httpx.Client, name: str) -> None:
    one, three = (ask(client, name, n=n).json()["usage"] for n in (1, 3))
    assert three["prompt_tokens"] == one["prompt_tokens"]
    assert three["completion_tokens"] == 3 * one["completion_tokens"]


def test_embeddings_are_billed(client: httpx.Client, name: str) -> None:
    body = {"model": "text-embedding-3-small", "input": "x" * 4000}
    told = client.post("/v1/embeddings", json=body).json()["usage"]
    invoice = client.get("/_sim/invoice").json()
    assert invoice["prompt_tokens"] == told["prompt_tokens"] == 1001
    assert Decimal(invoice["cost_usd"]) == Decimal("0.02") * 1001 / 1_000_000


def test_an_error_may_come_in_the_middle_of_a_stream(client: httpx.Client, name: str) -> None:
    fail(client, "error_in_200")
    frames = ask(client, name, stream=True).text.strip().split("\n\n")
    assert "error" in json.loads(frames[-1].removeprefix("data: "))


def test_a_call_may_hang(client: httpx.Client, name: str) -> None:
    fail(client, "timeout")
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/v1/chat/completions", json={"model": MODELS[name], "messages": PROMPT}, timeout=0.2
        )


def test_a_call_may_be_slow(client: httpx.Client, name: str) -> None:
    fail(client, "slow", seconds=0.3)
    begun = time.monotonic()
    assert ask(client, name).status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_a_failure_may_be_one_models_alone(client: httpx.Client, name: str) -> None:
    fail(client, "refuse_500", models=[MODELS[name]])
    other = MODELS[name].replace("deepseek-v4-flash", "deepseek-chat")
    assert ask(client, name).status_code == 500
    assert ask(client, name, model=other).status_code == 200
    client.post("/_sim/reset")
    assert ask(client, name).status_code == 200


def test_every_model_of_the_list_is_served(client: httpx.Client, name: str) -> None:
    for model in client.get("/v1/models").json()["data"]:
        assert ask(client, name, model=model["id"]).status_code == 200


@pytest.mark.parametrize(
    "over", [{"model": "no-such-model"}, {"messages": []}, {"model": None}], ids=str
)
def test_a_faulty_request_is_refused(
    client: httpx.Client, name: str, over: dict[str, object]
) -> None:
    assert ask(client, name, **over).status_code == 400


def test_requests_are_remembered_without_their_key(client: httpx.Client, name: str) -> None:
    ask(client, name)
    ask(client, name, temperature=0.5)
    first, last = client.get("/_sim/requests").json()
    assert "body" not in first
    assert last["body"]["temperature"] == 0.5
    assert "authorization" not in last["headers"]
