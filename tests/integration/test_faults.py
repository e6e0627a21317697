"""Whatever an upstream does wrong: what the caller sees, what the ledger says, and by when.

Two upstreams over real sockets, under uvicorn. The first goes wrong; the second is well, or goes
wrong alike.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import pytest

from fareway import wiring
from fareway.app import create_app
from fareway.classify import Classifier
from fareway.ledger import LOG_MESSAGE
from fareway.settings import Settings
from fareway.wiring import build, load_classifier
from local.serving import serve
from tests.builders import POLICY_FILE, a_chat, a_completion
from tests.upstream import (
    DONE,
    END,
    STREAM_HEAD,
    USAGE,
    Upstream,
    delta,
    event,
    hang,
    part,
    response,
    upstream,
)

DEADLINE_MS = 1_500
SLACK_S = 1.0  # for a busy machine; a hang would be twenty times as long
LIMITS = {
    "tries = 2": "tries = 1",
    "timeout_ms = 20_000": "timeout_ms = 400",
    "first_token_ms = 15_000": "first_token_ms = 400",
    "inter_chunk_ms = 15_000": "inter_chunk_ms = 400",
}
SAID = "Paris is it."


async def well(body: dict) -> AsyncIterator[bytes]:
    """A sound answer, whole or in chunks."""
    if not body.get("stream"):
        message = {"role": "assistant", "content": SAID}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        yield response(json.dumps(a_completion("served-1", choices=choices)))
        return
    yield STREAM_HEAD + part(delta())
    for word in ("Paris ", "is ", "it."):
        yield part(delta(word))
    yield part(event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    yield part(event(choices=[], usage=USAGE)) + part(DONE) + END


def answers(*args: object, **kwargs: object):
    async def script(_: dict) -> AsyncIterator[bytes]:
        yield response(*args, **kwargs)  # type: ignore[arg-type]

    return script


def error(status: int, **headers: str):
    return answers(json.dumps({"error": {"message": "no", "code": status}}), status, **headers)


async def silent(_: dict) -> AsyncIterator[bytes]:
    await hang()
    yield b""


async def silent_after_the_head(body: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD if body.get("stream") else b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"
    await hang()


async def closed_at_once(_: dict) -> AsyncIterator[bytes]:
    return
    yield b""


async def role_alone(body: dict) -> AsyncIterator[bytes]:
    """A frame without content and comments, for ever: no first token."""
    yield STREAM_HEAD + part(delta())
    while True:
        yield part(b": processing\n\n")
        await _moment()


async def role_alone_with_an_empty_end(_: dict) -> AsyncIterator[bytes]:
    """Some upstreams write "" where OpenAI writes null: it ends nothing."""
    yield STREAM_HEAD + part(delta(finish_reason=""))


async def odd_code_before_content(_: dict) -> AsyncIterator[bytes]:
    """A code that is a digit to `str.isdigit`, and no number."""
    yield STREAM_HEAD + part(event(choices=[], error={"message": "no", "code": "²"})) + END


async def error_before_content(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta())
    yield part(event(choices=[], error={"message": "overloaded", "code": 503})) + END


async def bad_line_before_content(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(b'data: {"choices": [\n\n')
    await hang()


async def cut_before_content(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta())


async def _moment() -> None:
    await asyncio.sleep(0.02)


#: What goes wrong before there is content: name -> script, or a URL that leads nowhere.
BEFORE = {
    "connection refused": "http://127.0.0.1:9",
    "no such host": "http://nowhere.invalid",
    "no TLS": "https",
    "401": error(401),
    "402": error(402),
    "403": error(403),
    "404": error(404),
    "408": error(408),
    "429": error(429),
    "429, wait a second": error(429, retry_after="1"),
    "429, wait a minute": error(429, retry_after="60"),
    "500": error(500),
    "502 in HTML": answers("<html>Bad gateway</html>", 502, "text/html"),
    "503": error(503),
    "200 with an error": answers('{"error": {"message": "late", "code": 502}}'),
    "200 without JSON": answers('{"id": "x", "choices": ['),
    "200 in HTML": answers("<html>Welcome</html>", 200, "text/html"),
    "200 without choices": answers('{"id": "x"}'),
    "silent": silent,
    "silent after the head": silent_after_the_head,
    "closed at once": closed_at_once,
}
STREAM_BEFORE = {
    "role alone, for ever": role_alone,
    "role alone, its end an empty word": role_alone_with_an_empty_end,
    "error before content": error_before_content,
    "error of an odd code": odd_code_before_content,
    "bad line before content": bad_line_before_content,
    "cut before content": cut_before_content,
}


class World:
    def __init__(self, url: str, one: Upstream, two: Upstream, logged) -> None:
        self.url, self.one, self.two, self.logged = url, one, two, logged

    def ask(self, **fields: object) -> tuple[httpx.Response, float]:
        begun = time.monotonic()
        with httpx.Client(timeout=20) as client:
            answer = client.post(
                f"{self.url}/v1/chat/completions",
                json=a_chat(**fields),
                headers={"authorization": "Bearer fw-test"},
            )
        return answer, time.monotonic() - begun

    def event(self) -> dict:
        """The one event that the ledger has, once it is there."""
        give_up = time.monotonic() + 5
        while time.monotonic() < give_up:
            if found := [x["event"] for x in self.logged() if x["message"] == LOG_MESSAGE]:
                assert len(found) == 1
                return found[0]
            time.sleep(0.01)
        raise AssertionError("no event was recorded")


@pytest.fixture(scope="module")
def classifier() -> Classifier | None:
    return load_classifier(Settings())


@pytest.fixture
def world(tmp_path: Path, logged, classifier: Classifier | None, monkeypatch) -> Iterator:
    """A function: two scripts, or a URL for the first -> a World."""
    monkeypatch.setattr(wiring, "load_classifier", lambda _: classifier)
    text = POLICY_FILE.read_text(encoding="utf-8")
    for old, new in LIMITS.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
    with upstream() as one, upstream() as two:

        def start(first: object, second: object = well) -> World:
            one.script, two.script = first, second  # type: ignore[assignment]
            url = one.url
            if isinstance(first, str):
                url = first if first != "https" else one.url.replace("http:", "https:")
                one.script = well
            settings = Settings(
                policy_file=tmp_path / "policy.toml",
                api_key="fw-test",
                deadline_ms=DEADLINE_MS,
                upstream_keys={"tokenmix": "k", "openrouter": "k"},
                base_urls={"tokenmix": f"{url}/v1", "openrouter": f"{two.url}/v1"},
            )
            serving = serve(create_app(build(settings)))
            started.append(serving)
            return World(serving.__enter__(), one, two, logged)

        started: list = []
        yield start
        for serving in started:
            serving.__exit__(None, None, None)


def contents(text: str) -> str:
    said = [json.loads(f[6:]) for f in text.split("\n\n") if f.startswith("data: {")]
    choices = [c for chunk in said for c in chunk.get("choices", ())]
    return "".join(c["delta"].get("content") or "" for c in choices)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", BEFORE)
def test_a_fault_before_content_is_failed_over(world, fault: str, stream: bool) -> None:
    here = world(BEFORE[fault])
    answer, seconds = here.ask(stream=stream)
    assert answer.status_code == 200
    told = contents(answer.text) if stream else answer.json()["choices"][0]["message"]["content"]
    assert told == SAID
    assert answer.headers["x-fareway-aggregator"] == "openrouter"
    assert int(answer.headers["x-fareway-attempts"]) >= 2
    assert seconds < DEADLINE_MS / 1000 + SLACK_S
    event = here.event()
    assert (event["status"], event["served_model"]) == (200, "served-1")
    assert event["failovers"] >= 1
    assert (event["prompt_tokens"], event["completion_tokens"]) == (1000, 500)


@pytest.mark.parametrize("fault", STREAM_BEFORE)
def test_a_stream_that_fails_before_content_is_failed_over(world, fault: str) -> None:
    here = world(STREAM_BEFORE[fault])
    answer, seconds = here.ask(stream=True)
    assert (answer.status_code, contents(answer.text)) == (200, SAID)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert seconds < DEADLINE_MS / 1000 + SLACK_S
    assert here.event()["aggregator"] == "openrouter"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", [f for f in BEFORE if not isinstance(BEFORE[f], str)])
def test_a_fault_everywhere_is_told_in_openais_shape(world, fault: str, stream: bool) -> None:
    here = world(BEFORE[fault], BEFORE[fault])
    answer, seconds = here.ask(stream=stream)
    told = answer.json()["error"]
    if fault.startswith("429"):
        assert (answer.status_code, told["type"]) == (429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
    elif fault.startswith("silent"):
        assert answer.status_code == 504
    else:
        assert answer.status_code == 502
    assert told["code"] == "all_candidates_failed"
    assert seconds < DEADLINE_MS / 1000 + SLACK_S
    event = here.event()
    assert (event["status"], event["served_model"], event["cost_usd"]) == (
        answer.status_code,
        None,
        None,
    )


# Once there is content


async def cut(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris "))


async def cut_after_a_usage(_: dict) -> AsyncIterator[bytes]:
    """Its usage comes with the first content, and counts no more than that."""
    told = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    said = [{"index": 0, "delta": {"content": "Paris "}, "finish_reason": None}]
    yield STREAM_HEAD + part(event(model="gpt-4o-mini", choices=said, usage=told))
    yield part(event(model="gpt-4o-mini", choices=said))


async def ended_early(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris ")) + END


async def stalled(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris "))
    await hang()


async def bad_line(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris ")) + part(b"data: {nonsense\n\n")
    await hang()


async def error_after_content(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris "))
    yield part(event(choices=[], error={"message": "died", "code": 502})) + END


async def choice_error(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris "))
    yield part(event(choices=[{"index": 0, "delta": {}, "finish_reason": "error"}])) + END


async def endless(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta())
    while True:
        yield part(delta("Paris "))
        await _moment()


AFTER = {
    "cut": (cut, 502),
    "cut after a usage": (cut_after_a_usage, 502),
    "ended early": (ended_early, 502),
    "stalled": (stalled, 504),
    "bad line": (bad_line, 502),
    "error": (error_after_content, 502),
    "error in a choice": (choice_error, 502),
    "endless": (endless, 504),
}


@pytest.mark.parametrize("fault", AFTER)
def test_a_fault_after_content_is_one_error_frame_and_no_done(world, fault: str) -> None:
    script, status = AFTER[fault]
    here = world(script)
    answer, seconds = here.ask(stream=True)
    assert answer.status_code == 200
    assert answer.text.count("Paris ") >= 1
    *_, last = answer.text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stream_broke"
    assert "[DONE]" not in answer.text
    assert here.two.asked == []  # nobody else's words behind the first's
    assert seconds < DEADLINE_MS / 1000 + SLACK_S
    event = here.event()
    assert (event["status"], event["cost_source"]) == (status, "estimated")
    assert event["completion_tokens"] >= 1
    assert float(event["cost_usd"]) > 0


def test_the_sdk_raises_where_a_stream_breaks(world) -> None:
    here = world(bad_line)
    said: list[str | None] = []
    with openai.OpenAI(api_key="fw-test", base_url=f"{here.url}/v1", max_retries=0) as client:
        stream = client.chat.completions.create(**a_chat(), stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            said.extend(c.delta.content for chunk in stream for c in chunk.choices)
    assert "Paris " in said


@pytest.mark.parametrize("content", [True, False], ids=["after content", "before content"])
def test_a_caller_that_leaves_ends_the_upstreams_call_and_is_billed(world, content) -> None:
    here = world(stalled_long if content else silent_long, silent_long)
    with (
        httpx.Client(timeout=0.3 if not content else 5) as client,
        pytest.raises(httpx.ReadTimeout)
        if not content
        else client.stream(
            "POST",
            f"{here.url}/v1/chat/completions",
            json=a_chat(stream=True),
            headers={"authorization": "Bearer fw-test"},
        ) as streaming,
    ):
        if content:
            assert "Paris" in next(t for t in streaming.iter_text() if "Paris" in t)
        else:
            client.post(
                f"{here.url}/v1/chat/completions",
                json=a_chat(stream=True),
                headers={"authorization": "Bearer fw-test"},
            )
    assert here.one.left.acquire(timeout=5)
    event = here.event()
    assert event["status"] == 499
    assert (event["cost_source"] == "estimated") is content


async def stalled_long(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta()) + part(delta("Paris "))
    await hang()


async def silent_long(_: dict) -> AsyncIterator[bytes]:
    await hang()
    yield b""


# What is not wrong, if odd


async def usage_with_choices(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta("Paris "))
    end = [{"index": 0, "delta": {"content": "it."}, "finish_reason": "stop"}]
    yield part(event(choices=end, usage=USAGE)) + part(DONE) + END


async def without_done(_: dict) -> AsyncIterator[bytes]:
    yield STREAM_HEAD + part(delta("Paris ")) + part(delta("it.", finish_reason="stop"))
    yield part(event(choices=[], usage=USAGE).rstrip()) + END


async def does_not_stream(body: dict) -> AsyncIterator[bytes]:
    async for said in well({**body, "stream": False}):
        yield said


@pytest.mark.parametrize("script", [well, usage_with_choices, without_done, does_not_stream])
@pytest.mark.parametrize("include_usage", [True, False])
def test_usage_is_billed_and_told_to_who_asked(world, script, include_usage: bool) -> None:
    here = world(script)
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    answer, _ = here.ask(stream=True, **options)
    *chunks, done = [f.removeprefix("data: ") for f in answer.text.strip().split("\n\n")]
    said = [json.loads(chunk) for chunk in chunks]
    assert (done, contents(answer.text).startswith("Paris ")) == ("[DONE]", True)
    usages = [chunk["usage"] for chunk in said if chunk.get("usage")]
    assert usages == ([USAGE] if include_usage else [])
    if include_usage:
        assert said[-1]["choices"] == []
    event = here.event()
    assert (event["prompt_tokens"], event["completion_tokens"]) == (1000, 500)
    assert (event["status"], event["stream"]) == (200, True)
    assert here.one.asked[0]["stream_options"]["include_usage"] is True
