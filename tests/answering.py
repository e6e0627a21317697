"""An `Http` whose session a function answers: no sockets, so that a test's clock can stand still.

httpx's request and response serve as plain data here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx
from aiohttp import ClientConnectorError, ServerDisconnectedError, ServerTimeoutError
from aiohttp.client_reqrep import ConnectionKey


class Answer:
    def __init__(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, response.headers
        self._content = response.content

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def read(self) -> bytes:
        return self._content


class Answering:
    """Args: answer: a request -> its response; or it raises what aiohttp would."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self._answer = answer

    def session(self) -> Answering:
        return self

    async def post(self, url: str, *, data: bytes, headers: Any, **_: Any) -> Answer:
        return Answer(self._answer(httpx.Request("POST", url, content=data, headers=headers)))

    async def aclose(self) -> None:
        return None


def refused(_: object) -> httpx.Response:
    key = ConnectionKey("one", 80, False, False, None, None, None)
    raise ClientConnectorError(key, OSError("refused"))


def stalled(_: object) -> httpx.Response:
    raise ServerTimeoutError


def cut(_: object) -> httpx.Response:
    raise ServerDisconnectedError
