"""An LLM behind an OpenAI-compatible endpoint, for a teacher: it says what a test tells it to."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from local.serving import serve

HANG = Response()  # said by one that never answers


class LLM:
    """Its answers, and what it was asked.

    Args:
        say: the graded prompt -> the answer's text, or a response of its own; it may be async.
        asked: the requests' bodies and keys, in order.
    """

    url: str
    say: Callable[[str], Any]
    usage: dict[str, Any]

    def reset(self, say: Callable[[str], Any] = lambda _: "3") -> None:
        self.say = say
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.finish_reason = "stop"
        self.usage = {"prompt_tokens": 200, "completion_tokens": 2}

    @property
    def prompts(self) -> list[str]:
        return [graded(body) for body in self.asked]

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers["authorization"])
        said = self.say(graded(body))
        if inspect.isawaitable(said):
            said = await said
        while said is HANG and not await request.is_disconnected():
            await asyncio.sleep(0.01)
        if isinstance(said, Response):
            return said
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        answer = {"id": "1", "object": "chat.completion", "model": body["model"]}
        return JSONResponse({**answer, "choices": [choice], "usage": self.usage})


def graded(body: dict[str, Any]) -> str:
    """The prompt within the question, between its two marks."""
    fence = f"\n{mark(body)}\n"
    return content(body).partition(fence)[2].rpartition(fence)[0]


def mark(body: dict[str, Any]) -> str:
    """What stands above and below the prompt."""
    found = re.search(r"the two lines that say (\[\w+\])", content(body))
    assert found, "the question names no mark"
    return found[1]


def content(body: dict[str, Any]) -> str:
    (message,) = body["messages"]
    return message["content"]


@contextmanager
def llm_server() -> Iterator[LLM]:
    """A running LLM; its endpoint is at `url`."""
    llm = LLM()
    llm.reset()
    app = FastAPI()
    app.add_api_route("/v1/chat/completions", llm.complete, methods=["POST"])
    with serve(app) as url:
        llm.url = url + "/v1"
        yield llm
