"""The app over an upstream that answers as it is told, and what must hold of any answer."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fareway.app import create_app
from fareway.providers.aggregator import Aggregator
from fareway.settings import Settings
from fareway.wiring import build
from tests.answering import Answering
from tests.builders import a_chat, a_completion
from tests.unit.test_app import FixedScorer

KEY = "fw-fuzz-unmistakable"
#: Few and always the same in the test suite; `make fuzz` asks for many, and for others each time.
EXAMPLES = int(os.environ.get("FAREWAY_FUZZ", "0"))
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
fuzz = settings(
    max_examples=EXAMPLES or 40,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=SLOW,
)
POSTS = ("chat/completions", "responses", "embeddings", "route", "feedback")
VALID: dict[str, dict[str, Any]] = {
    "chat/completions": a_chat(max_tokens=5, temperature=0.5, n=1, user="u", metadata={"a": "b"}),
    "responses": {"model": "fareway/auto", "input": "Hello", "max_output_tokens": 5},
    "embeddings": {"model": "text-embedding-3-small", "input": ["a", "b"]},
    "route": {"messages": a_chat()["messages"]},
    "feedback": {"decision_id": "dec_1", "rating": "down", "score": 0.5, "reason": "wrong"},
}
EMBEDDINGS = {"object": "list", "model": "e", "data": [{"embedding": [0.1], "index": 0}]}


class World:
    """Requests in, one upstream behind; everything in this process and on one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.asked: list[httpx.Request] = []
        self.answer: Callable[[httpx.Request], httpx.Response] = well
        self.gateway = build(Settings(api_key=KEY, metrics="emf", upstream_keys={"tokenmix": "k"}))
        router = self.gateway.router
        self.gateway.scoring.scorer = FixedScorer()  # type: ignore[assignment]
        dispatcher: Any = router.dispatcher
        upstream: Any = Answering(self._asked)
        dispatcher.aggregators = {
            "tokenmix": Aggregator(
                "tokenmix", "http://upstream/v1", "sk-unmistakable", upstream, {}
            )
        }
        dispatcher.jitter = lambda: 0.0
        dispatcher.sleep = lambda _: asyncio.sleep(0)
        # one bad answer must not decide what the next request meets
        dispatcher.circuits.breakers.failures = 10**9
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(self.gateway)), base_url="http://fareway"
        )

    def _asked(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self.answer(request)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def send(
        self, method: str, path: str, content: bytes = b"", headers: Any = ()
    ) -> httpx.Response:
        self.asked.clear()
        given = [(b"authorization", f"Bearer {KEY}".encode()), *headers]
        request = self.client.build_request(method, path, content=content, headers=given)
        answer: httpx.Response = self.run(self.client.send(request))
        return answer

    def post(self, path: str, body: object, headers: Any = ()) -> httpx.Response:
        return self.send("POST", f"/v1/{path}", json.dumps(body).encode(), headers)

    def close(self) -> None:
        self.run(self.client.aclose())
        self.run(self.gateway.close())
        self.loop.close()


def well(request: httpx.Request) -> httpx.Response:
    """A sound answer to a sound request; JSON as the RFC has it, not as Python has it."""
    body = json.loads(request.content, parse_constant=_no_json)
    if request.url.path.endswith("/embeddings"):
        return httpx.Response(200, json=EMBEDDINGS)
    return httpx.Response(200, json=a_completion(str(body["model"])))


def _no_json(name: str) -> None:
    raise AssertionError(f"the upstream was sent {name}, which is no JSON")


def holds(world: World, answer: httpx.Response, refused: frozenset[int] | None = None) -> None:
    """What is true of every answer: no crash, an error in OpenAI's shape, no other upstream."""
    text = answer.text[:300]
    allowed = refused or frozenset({400, 401, 404, 405, 413, 503})
    assert answer.status_code == 200 or answer.status_code in allowed, (answer.status_code, text)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["type"], str)
        assert error["param"] is None or isinstance(error["param"], str)
        assert error["code"] is None or isinstance(error["code"], str)
        assert KEY not in text
    for name, value in answer.headers.items():
        assert (name + value).isprintable(), (name, value)
    for request in world.asked:
        assert str(request.url) in (
            "http://upstream/v1/chat/completions",
            "http://upstream/v1/embeddings",
        )
        assert request.headers["authorization"] == "Bearer sk-unmistakable"
        assert not any(name.startswith("x-fareway") for name in request.headers)


# What is tried.

#: Text with what breaks things: quotes, controls, halves of surrogate pairs, right-to-left marks.
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None, categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), max_size=8),
    st.sampled_from(
        [
            "",
            " ",
            "\r\nx-injected: 1",
            "\n{\"level\": \"error\", \"message\": \"ledger event\"}",
            "${jndi:ldap://x}",
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
            "../../../etc/passwd",
            "%00",
            "'; DROP TABLE keys; --",
            "fareway/auto",
            "dec_" + "0" * 32,
            "9" * 400,
            "\u202e\u0000",
        ]
    ),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),  # infinite ones and NaN too, as Python's JSON writes them
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, 5e-324, -0.0]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn, path: str) -> Any:
    """A valid body in which one to three values, at any depth, are others."""
    body = json.loads(json.dumps(VALID[path]))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = body
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys or draw(st.booleans()):
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(node[key], dict | list):
                break
            node = node[key]
        if isinstance(node, dict):
            known = [*node, *MORE] if node is body else [*node, "type", "tool_calls", "name"]
            node[draw(st.one_of(st.sampled_from(known), TEXTS))] = draw(JSON)
        elif node:
            node[draw(st.integers(0, len(node) - 1))] = draw(JSON)
        else:
            node.append(draw(JSON))
    return body


#: Fields of the protocol that the valid bodies lack.
MORE = (
    "stream_options", "tools", "tool_choice", "functions", "function_call",
    "response_format", "stop", "logit_bias", "logprobs", "top_logprobs", "seed",
    "modalities", "audio", "prediction", "reasoning", "reasoning_effort",
    "max_completion_tokens", "text", "include", "instructions", "store",
    "previous_response_id", "background", "dimensions", "encoding_format",
    "prompt_cache_key",
)  # fmt: skip

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"x-fareway-min-tier",
                b"x-fareway-max-tier",
                b"x-fareway-max-cost-usd",
                b"x-fareway-session",
                b"traceparent",
                b"tracestate",
                b"x-amzn-trace-id",
                b"x-amzn-lambda-context",
                b"content-type",
                b"accept",
                b"authorization",
                b"host",
                b"x-forwarded-for",
            ]
        ),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"premium",
                    b"0.000001",
                    b"1e999999999",
                    b"-Infinity",
                    b"NaN",
                    b"sNaN",
                    b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
                    b'{"deadline": 1e999}',
                    b'{"deadline": ' + b"9" * 400 + b"}",
                    b'{"deadline": "nan"}',
                    b"[" * 2000,
                    b"Bearer \xff",
                    b"x" * 5000,
                    b"a=b," * 100,
                ]
            ),
        ),
    ),
    max_size=3,
)
