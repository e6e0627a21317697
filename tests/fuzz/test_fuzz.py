"""Whatever a caller or an upstream sends: no 500, and every error as OpenAI's clients read it.

make fuzz                              # many examples, new ones each time
FAREWAY_FUZZ=100 ... -m pytest tests/fuzz   # as many of each kind
"""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import a_chat, a_completion
from tests.fuzz.world import (
    EMBEDDINGS,
    HEADERS,
    JSON,
    POSTS,
    TEXTS,
    VALID,
    World,
    bodies,
    fuzz,
    holds,
    well,
)

UPSTREAMS = frozenset({400, 401, 404, 405, 413, 415, 422, 429, 502, 503, 504})


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


@pytest.fixture(autouse=True)
def _well(world):
    world.answer = well


@pytest.mark.parametrize("path", POSTS)
def test_a_body_with_any_value_anywhere(world, path, capsys):
    @fuzz
    @given(bodies(path))
    def check(body):
        holds(world, world.post(path, body))

    check()
    whole_lines(capsys)


@pytest.mark.parametrize("path", POSTS)
def test_any_json_and_any_bytes(world, path):
    @fuzz
    @given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
    def check(content):
        holds(world, world.send("POST", f"/v1/{path}", content))

    check()


@pytest.mark.parametrize("path", POSTS)
def test_any_headers(world, path, capsys):
    content = json.dumps(VALID[path]).encode()

    @fuzz
    @given(HEADERS)
    def check(headers):
        # 504: the header of Lambda's adapter says that there is no time left
        answer = world.send("POST", f"/v1/{path}", content, headers)
        holds(world, answer, frozenset({400, 401, 503, 504}))

    check()
    whole_lines(capsys)


@fuzz
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]),
    st.one_of(
        st.sampled_from(["/", "/v1", "/v1/models", "/healthz", "/docs", "/v1/decisions/"]),
        st.text(max_size=30).map(lambda text: "/v1/decisions/" + _quoted(text)),
        st.text(max_size=30).map(lambda text: "/" + _quoted(text)),
    ),
)
def test_any_path_and_method(world, method, path):
    answer = world.send(method, path)
    if method != "HEAD":
        holds(world, answer)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """However a value looks, it makes no line of its own in a log."""
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in (out + err).splitlines()]
    assert lines
    ours = {"request", "ledger event", "memory failed", "request failed", "attempt failed"}
    assert {line["message"] for line in lines} <= ours


# An upstream is no friend either.


@st.composite
def answers(draw: st.DrawFn) -> httpx.Response:
    """A sound answer with another value somewhere, or an error of any kind."""
    status = draw(
        st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 404, 413, 429, 500, 503])
    )
    headers = [
        (b"content-type", draw(st.sampled_from([b"application/json", b"text/html", b"x/y; \xff"]))),
        (b"retry-after", draw(st.sampled_from(RETRY_AFTER))),
    ]
    body: Any = a_completion() if status == 200 else {"error": {"message": "no", "code": status}}
    for _ in range(draw(st.integers(0, 3))):
        node = body
        while (inner := [v for v in values(node) if isinstance(v, dict | list)]) and draw(
            st.booleans()
        ):
            node = draw(st.sampled_from(inner))
        if isinstance(node, dict):
            name = draw(st.one_of(st.sampled_from([*node, "model", "usage", "cost"]), TEXTS))
            node[name] = draw(JSON)
        elif node:
            node[0] = draw(JSON)
    content = draw(st.one_of(st.just(json.dumps(body).encode()), st.binary(max_size=30)))
    return httpx.Response(status, headers=headers, content=content)


def values(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else list(node)


RETRY_AFTER = [
    b"1", b"0", b"-5", b"inf", b"nan", b"1e400", b"\xff", b"soon", b"99999999999999999999",
    b"Wed, 21 Oct 2015 07:28:00 GMT", b"Wed, 21 Oct 99999 07:28:00 GMT", b"0x10",
]  # fmt: skip


@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings"])
def test_any_answer_of_an_upstream(world, path, capsys):
    @fuzz
    @given(answers())
    def check(answer):
        if path == "embeddings" and answer.status_code == 200 and b"Paris" in answer.content:
            answer = httpx.Response(200, json=EMBEDDINGS | {"model": "a\r\nb"})
        world.answer = lambda _: httpx.Response(
            answer.status_code, headers=answer.headers, content=answer.content
        )
        holds(world, world.post(path, VALID[path]), UPSTREAMS)

    check()


@pytest.mark.parametrize("wait", RETRY_AFTER)
def test_any_retry_after_is_told_as_whole_seconds(world, wait):
    headers = [(b"retry-after", wait)]
    world.answer = lambda _: httpx.Response(429, headers=headers, json={"error": {}})
    answer = world.post("chat/completions", a_chat())
    holds(world, answer, UPSTREAMS)
    assert answer.status_code == 429
    assert 0 <= int(answer.headers["retry-after"]) <= 86_400


@pytest.mark.parametrize("said", ["9" * 400, '"nan"', "1e999", "[" * 100_000, "{}", '"\\ud800"'])
def test_whatever_a_caller_says_in_the_adapters_name_is_no_crash(world, said):
    headers = [(b"x-amzn-lambda-context", f'{{"deadline": {said}}}'.encode())]
    answer = world.post("chat/completions", a_chat(), headers)
    holds(world, answer, frozenset({504}))


def test_numbers_that_are_no_json_go_nowhere(world):
    """`1e999` is JSON, but Python reads it as infinite, and would write it as `Infinity`."""
    for text in ("1e999", "-1e999"):
        content = json.dumps(a_chat(x_vendor="?")).replace('"?"', text).encode()
        answer = world.send("POST", "/v1/chat/completions", content)
        assert answer.status_code == 400
        assert "number" in answer.json()["error"]["message"]
        assert world.asked == []
    assert math.isinf(float("1e999"))
