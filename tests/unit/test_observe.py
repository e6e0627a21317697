"""The app seen from outside of it: one line for each request, its trace, and no content."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging

import httpx
import pytest

from fareway.app import create_app
from fareway.observe import Observed
from fareway.providers.aggregator import Aggregator
from fareway.settings import Settings
from fareway.wiring import build
from local.serving import serve
from tests.answering import Answering
from tests.builders import a_chat, a_completion, a_verdict, an_event

KEY = {"authorization": "Bearer fw-unmistakable-key"}
TRACE_ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class FixedScorer:
    version = "test-1"

    def score(self, text):
        if "broken" in text:
            raise RuntimeError("unmistakable")
        return a_verdict(1)


class World:
    """The app with `FAREWAY_METRICS=emf`; an upstream that answers as it is told."""

    def __init__(self, metrics: str, capsys) -> None:
        self.capsys = capsys
        self.sent: list[httpx.Request] = []
        self.status, self.body = 200, a_completion()
        self.gateway = build(
            Settings(
                stage="test",
                api_key="fw-unmistakable-key",
                metrics=metrics,
                upstream_keys={"tokenmix": "k"},
            )
        )
        router = self.gateway.router
        self.gateway.scoring.scorer = FixedScorer()
        self.upstream = Answering(self.answer)
        router.dispatcher.aggregators = {
            "tokenmix": Aggregator("tokenmix", "http://upstream/v1", "k", self.upstream, {})
        }
        router.dispatcher.jitter = lambda: 0.0
        transport = httpx.ASGITransport(create_app(self.gateway), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://f", headers=KEY)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return httpx.Response(self.status, json=self.body)

    async def chat(self, prompt="Hello", headers=None, **fields) -> httpx.Response:
        return await self.client.post(
            "/v1/chat/completions", json=a_chat(prompt, **fields), headers=headers
        )

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    async def close(self) -> None:
        await self.client.aclose()
        await self.upstream.aclose()
        await self.gateway.close()


@pytest.fixture
async def world(capsys):
    world = World("emf", capsys)
    yield world
    await world.close()


async def test_an_answer_makes_one_line_that_names_its_decision(world):
    response = await world.chat()
    (line,) = world.lines()
    assert line["message"] == "request"
    assert line["decision_id"] == response.headers["x-fareway-decision-id"]
    assert (line["status"], line["Tier"], line["Stage"]) == (200, "cheap", "test")
    assert (line["path"], line["model"]) == ("/v1/chat/completions", "deepseek-v4-flash")
    assert (line["Requests"], line["Unclassified"], line["ledger"]) == (1, 0, "log")
    assert line["TotalMs"] >= line["UpstreamMs"]
    assert line["CostUSD"] == float(response.headers["x-fareway-cost-usd"])


async def test_a_stream_makes_one_line_too(world):
    await world.chat(stream=True)
    (line,) = world.lines()
    assert (line["Requests"], line["status"], line["Tier"]) == (1, 200, "cheap")


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        pytest.param({"headers": {"authorization": "Bearer x"}}, 401, "Unauthorised", id="key"),
        pytest.param({"content": b"{"}, 400, "BadRequest", id="JSON"),
        pytest.param({"json": a_chat(model="fareway/x")}, 404, "ModelNotFound", id="model"),
        pytest.param({"json": a_chat("x" * 5_000_000)}, 413, "PayloadTooLarge", id="size"),
    ],
)
async def test_what_is_refused_before_routing_counts(world, request_, status, error):
    response = await world.client.post("/v1/chat/completions", **request_)
    assert response.status_code == status
    (line,) = world.lines()
    assert (line["status"], line["error"]) == (status, error)
    assert (line["Requests"], line["Rejected4xx"], line["Failures5xx"]) == (1, 1, 0)
    assert "CostUSD" not in line
    assert "Tier" not in line


async def test_a_bug_counts_as_our_own_failure(world, monkeypatch):
    async def explode(self, asked):
        raise ValueError("unmistakable")

    monkeypatch.setattr(type(world.gateway.router), "complete", explode)
    assert (await world.chat()).status_code == 500
    (line,) = world.lines()
    assert (line["status"], line["error"], line["Failures5xx"]) == (500, "ValueError", 1)


async def test_upstreams_that_fail_are_told_with_the_breakers_that_opened(world):
    world.status, world.body = 500, {"error": {"message": "unmistakable"}}
    opened, status = 0, 0
    for _ in range(world.gateway.policy.attempts.breaker_failures):
        status = (await world.chat()).status_code
        (line,) = world.lines()
        opened += line["BreakerOpens"]
        assert line["Failovers"] > 0
    assert (status, line["status"], line["Failures5xx"]) == (502, 502, 1)
    assert line["error"] == "AllCandidatesFailed"
    assert opened >= 1


async def test_an_unclassified_and_an_unpriced_answer_are_told(world):
    world.body = a_completion(model="nobody-knows-its-price")
    await world.chat("broken", model="nobody-knows-its-price")
    await world.chat("broken")
    passed, routed = world.lines()
    assert (passed["Tier"], passed["Unpriced"]) == ("direct", 1)
    assert "Unclassified" not in passed
    assert (routed["Tier"], routed["Unclassified"]) == ("premium", 1)


async def test_health_checks_and_the_page_are_not_counted_and_unknown_paths_not_named(world):
    for path in ("/healthz", "/dashboard", "/dashboard/days.js", "/v1/admin/savings/summary"):
        await world.client.get(path)
    await world.client.get("/v1/models")
    await world.client.get("/v1/unmistakable")
    assert [(line["path"], line["status"]) for line in world.lines()] == [
        ("/v1/models", 200),
        ("unknown", 404),
    ]


async def test_without_the_setting_stdout_stays_quiet(capsys):
    world = World("", capsys)
    assert (await world.chat()).status_code == 200
    assert capsys.readouterr().out == ""
    await world.close()


async def test_no_content_reaches_any_line(world):
    secret = {
        "metadata": {"unmistakable": "unmistakable"},
        "user": "unmistakable",
        "tools": [{"type": "function", "function": {"name": "unmistakable"}}],
    }
    world.body["choices"][0]["message"]["content"] = "unmistakable answer"
    traced = {"tracestate": "a=unmistakable", "traceparent": f"00-{TRACE_ID}-{PARENT}-01"}
    answered = await world.chat("an unmistakable prompt", traced | {"x-fareway-session": "unm"})
    assert "unmistakable" in answered.text
    await world.chat("broken, unmistakable", **secret)
    await world.chat("unmistakable", **secret, stream=True)
    await world.chat("unmistakable", messages="unmistakable")
    await world.chat("unmistakable", model="fareway/unmistakable")
    await world.chat("unmistakable", {"x-fareway-max-tier": "unmistakable"})
    await world.client.post("/v1/route", json=a_chat("unmistakable"))
    await world.client.get("/v1/unmistakable?unmistakable")
    world.status, world.body = 400, {"error": {"message": "unmistakable", "code": "unmistakable"}}
    await world.chat("unmistakable")
    world.status = 500
    await world.chat("unmistakable")
    written = world.capsys.readouterr()
    assert len(written.out.splitlines()) == 10
    assert "unmistakable" not in written.out + written.err


async def test_the_callers_trace_goes_on_to_the_upstream_and_into_the_line(world):
    given = {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "tracestate": "congo=1"}
    response = await world.chat(headers=given)
    (line,) = world.lines()
    (sent,) = world.sent
    assert sent.headers["traceparent"] == f"00-{TRACE_ID}-{line['span_id']}-01"
    assert sent.headers["tracestate"] == "congo=1"
    assert line["span_id"] != PARENT
    assert line["trace_id"] == response.headers["x-fareway-trace-id"] == TRACE_ID


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([], id="none"),
        pytest.param([("traceparent", "nonsense"), ("tracestate", "congo=1")], id="invalid"),
        pytest.param([("traceparent", f"00-{TRACE_ID}-{PARENT}-01")] * 2, id="two of them"),
    ],
)
async def test_without_a_valid_one_a_trace_begins_here(world, given):
    headers = [*KEY.items(), *given]
    await world.client.post("/v1/chat/completions", json=a_chat(), headers=headers)
    (line,) = world.lines()
    (sent,) = world.sent
    assert sent.headers["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-00"
    assert line["trace_id"] != TRACE_ID
    assert "tracestate" not in sent.headers


async def test_every_try_of_a_request_is_of_one_trace(world):
    world.status, world.body = 503, {}
    await world.chat()
    assert len(world.sent) > 1
    assert len({request.headers["traceparent"] for request in world.sent}) == 1


async def test_a_refusal_has_a_trace_to_ask_about(world):
    response = await world.client.post("/v1/chat/completions", headers={"authorization": "x"})
    (line,) = world.lines()
    assert response.headers["x-fareway-trace-id"] == line["trace_id"]


async def observed(app, capsys) -> dict:
    """The line of one request to a bare ASGI app; whatever it raises is left behind."""

    async def nothing(*_):
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": "/v1/models", "headers": []}
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await Observed(app, "test", emf=True)(scope, nothing, nothing)
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


START = {"type": "http.response.start", "status": 200, "headers": []}


async def test_a_stream_that_breaks_after_its_first_byte_is_no_success(capsys):
    async def breaks(scope, receive, send):
        await send(START)
        scope["state"]["facts"].event = an_event(status=502)

    async def crashes(scope, receive, send):
        await send(START)
        raise ValueError

    for app in (breaks, crashes):
        assert (await observed(app, capsys))["Failures5xx"] == 1


async def test_a_client_that_left_before_the_answer_is_no_failure_of_ours(capsys):
    async def leaves(scope, receive, send):
        raise asyncio.CancelledError

    line = await observed(leaves, capsys)
    assert (line["status"], line["Failures5xx"]) == (499, 0)


async def test_a_line_waits_for_the_end_of_the_stream(capsys):
    written = []

    async def streams(scope, receive, send):
        await send(START)
        for more in (True, True, False):
            await send({"type": "http.response.body", "body": b"x", "more_body": more})
        written.append(capsys.readouterr().out)

    assert (await observed(streams, capsys))["status"] == 200
    assert written == [""]


async def test_a_caller_that_leaves_is_no_failure_of_ours(world):
    hanging = asyncio.Event()

    async def never(*_, **__):
        hanging.set()
        await asyncio.Event().wait()

    world.upstream.post = never
    body = json.dumps(a_chat()).encode()
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if first:
            return first.pop()
        await hanging.wait()
        return {"type": "http.disconnect"}

    async def send(_):
        pass

    headers = [(b"authorization", KEY["authorization"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await create_app(world.gateway)(
        scope | {"query_string": b"", "http_version": "1.1"}, receive, send
    )
    out, err = world.capsys.readouterr()
    (line,) = map(json.loads, out.splitlines())
    assert (line["status"], line["Failures5xx"], line["Rejected4xx"]) == (499, 0, 1)
    assert "unexpected error" not in err


class Bare:
    """An app that fails with a prompt in its exception, before or after its answer has begun."""

    def __init__(self, begun: bool) -> None:
        self.begun = begun

    async def __call__(self, scope, receive, send):
        if self.begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("my unmistakable prompt")


@pytest.mark.parametrize("begun", [False, True], ids=["before", "after"])
def test_a_bugs_traceback_is_in_no_servers_log(begun, caplog, capfd):
    """An exception's text may be a prompt; uvicorn logs the traceback of what leaves an app."""
    with serve(Observed(Bare(begun), "test", emf=True)) as url:
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        if begun:
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(url)
        else:
            answer = httpx.get(url)
            assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    out, err = capfd.readouterr()
    assert "unmistakable" not in caplog.text + out + err
    (told,) = [json.loads(x) for x in err.splitlines() if "unexpected error" in x]
    assert (told["error"], told["at"].split(":")[0]) == ("KeyError", "test_observe.py")
    assert json.loads(out.splitlines()[0])["status"] == 500
    assert ("broke off" in caplog.text + err) is begun  # uvicorn did log it
