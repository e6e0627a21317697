"""DynamoDB that throttles, hangs or is not there: no memory, a metric, and no failed request."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from fareway.app import create_app
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve
from tests.builders import a_chat
from tests.unit.test_app import FixedScorer

THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "slow down",
}
MISSING = {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}
ANSWERS = {
    "throttling": (400, json.dumps(THROTTLED)),
    "missing tables": (400, json.dumps(MISSING)),
    "an outage": (500, "<html>"),
    "nonsense": (200, '{"Responses": {"cache": [{"key": {"S": "x"}}], "sessions": [{}]}}'),
    "nothing processed": (
        200,
        '{"Responses": {}, "UnprocessedKeys": {"cache": {"Keys": [{"key": {"S": "x"}}]}}}',
    ),
    "hanging": None,
}


@pytest.fixture(scope="module")
def simulator():
    with serve(create_simulator("tokenmix", 0)) as url:
        yield url


@pytest.fixture
def dynamodb(request, aws, monkeypatch):
    """A DynamoDB that has one answer for everything, or none."""
    answer, over = ANSWERS[request.param], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            if answer is None:
                over.wait(10)
                return
            status, body = answer
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.0")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield
    over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("dynamodb", ANSWERS, indirect=True)
async def test_a_conversation_is_served_and_the_failures_are_counted(dynamodb, simulator, capsys):
    settings = Settings(
        api_key="fw-test",
        metrics="emf",
        upstream_keys={"tokenmix": "k"},
        base_urls={"tokenmix": f"{simulator}/v1"},
        cache_table="cache",
        sessions_table="sessions",
        decisions_table="decisions",
    )
    gateway = build(settings)
    gateway.scoring.scorer = FixedScorer()
    transport = httpx.ASGITransport(create_app(gateway), raise_app_exceptions=False)
    headers = {"authorization": "Bearer fw-test", "x-fareway-session": "s"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://fareway/v1", headers=headers
    ) as client:
        messages = []
        for turn in ("Where are my shoes?", "That is wrong, you did not answer my question."):
            messages.append({"role": "user", "content": turn})
            answer = await client.post("/chat/completions", json=a_chat(messages=messages))
            assert answer.status_code == 200
            messages.append(answer.json()["choices"][0]["message"])
        # the complaint is in the conversation itself
        assert answer.headers["x-fareway-tier"] == "mid"
        opinion = {"decision_id": answer.headers["x-fareway-decision-id"], "rating": "down"}
        assert (await client.post("/feedback", json=opinion)).status_code in (404, 503)
    await gateway.close()
    lines = [json.loads(x) for x in capsys.readouterr().out.splitlines() if x.startswith("{")]
    counted = [x["MemoryFailures"] for x in lines if x["path"] == "/v1/chat/completions"]
    assert len(counted) == 2
    assert any(counted)
