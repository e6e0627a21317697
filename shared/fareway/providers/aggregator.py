"""One aggregator's completions: TokenMix, OpenRouter, Portkey, LiteLLM, any OpenAI-like.

What differs between them is data (base URL, headers, key); what goes wrong is told apart here
once, as a `ProviderError` that says whether to try again, elsewhere, or not at all.

Sources: openrouter.ai/docs/api/reference/errors-and-debugging and /use-cases/usage-accounting,
tokenmix.ai/docs/error-codes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import isnan
from time import time
from typing import Any

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientTimeout,
    ConnectionTimeoutError,
    InvalidURL,
)

from fareway.errors import ProviderError, UpstreamRejected
from fareway.prices import Usage
from fareway.providers.http import Http
from fareway.render import text_of
from fareway.trace import Trace
from fareway.usage import read_cost, read_usage
from fareway.wire import words

#: Statuses that say: the request itself is wrong, and would be wrong anywhere.
CALLERS_FAULT = frozenset({400, 413, 415, 422})
#: Our account at this aggregator: no key, no credit, or no right. Another aggregator may answer.
ACCOUNTS_FAULT = frozenset({401, 402, 403})
#: Whatever an upstream says: `inf` is a number too.
LONGEST_WAIT_S = 86_400.0
RETRYABLE = frozenset({408, 409, 425, 429})
_COMPACT = json.JSONEncoder(separators=(",", ":"))
#: What aiohttp raises where there is no answer, or half of one.
FAULTS = (ClientError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer, as it came.

    Args:
        body: the upstream's JSON.
        cost_usd: what the aggregator says that it charged, USD; None if it does not say.
    """

    body: dict[str, Any]
    served_model: str
    usage: Usage | None
    cost_usd: Decimal | None

    @property
    def id(self) -> str | None:
        """The completion's own, as the caller sees it."""
        return id_ if isinstance(id_ := self.body.get("id"), str) else None

    @property
    def text(self) -> list[str]:
        """What each choice says, for counting."""
        return [*words([choice.get("message") for choice in self.body.get("choices", ())])]

    @property
    def said(self) -> str:
        """The first choice's content, which a client sends back as the answer."""
        choices = self.body.get("choices") or [{}]
        return text_of((choices[0].get("message") or {}).get("content"))


@dataclass(frozen=True, slots=True)
class Aggregator:
    """One aggregator over the process's HTTP client."""

    name: str
    base_url: str
    api_key: str
    http: Http
    headers: Mapping[str, str]

    async def complete(
        self,
        model: str,
        body: Mapping[str, Any],
        timeout_s: float,
        path: str = "/chat/completions",
        trace: Trace | None = None,
    ) -> Completion:
        """One attempt at one model.

        Args:
            model: its name at this aggregator.
            body: the caller's request; sent on untouched but for model and streaming.
            timeout_s: for the whole attempt, seconds.
            path: that, or `/embeddings`.
            trace: told to the upstream, for its own records.

        Raises:
            ProviderError: no usable answer; its fields say what to do next.
        """
        sent = {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
        sent["model"] = model
        async with await self._send(path, sent, trace, ClientTimeout(timeout_s)) as response:
            return _completion(await _answer(response), model)

    async def stream(
        self,
        model: str,
        body: Mapping[str, Any],
        timeout_s: float,
        trace: Trace | None = None,
    ) -> Completion | ClientResponse:
        """One attempt at one model, answered in chunks.

        Args:
            timeout_s: until the head of the answer is there, seconds.

        Returns:
            The response, of which only the head was read; or, from an upstream that does not
            stream, a whole completion.

        Raises:
            ProviderError: as `complete`.
        """
        options = (body.get("stream_options") or {}) | {"include_usage": True}
        sent = {**body, "model": model, "stream": True, "stream_options": options}
        patience = ClientTimeout(sock_connect=timeout_s)
        response = await self._send("/chat/completions", sent, trace, patience)
        kind = response.headers.get("content-type", "")
        if response.status == 200 and not kind.startswith("application/json"):
            return response
        async with response:
            return _completion(await _answer(response), model)

    async def _send(
        self, path: str, body: Mapping[str, Any], trace: Trace | None, patience: ClientTimeout
    ) -> ClientResponse:
        """The response, of which only the head was read."""
        try:
            return await self.http.session().post(
                self.base_url.rstrip("/") + path,
                data=_COMPACT.encode(body).encode(),
                headers={
                    **self.headers,
                    **(trace.headers() if trace else {}),
                    "content-type": "application/json",
                    "authorization": f"Bearer {self.api_key}",
                },
                timeout=patience,
                allow_redirects=False,
            )
        except FAULTS as error:
            raise lost(error, "connection_lost") from error


def lost(error: Exception, kind: str) -> ProviderError:
    """A fault below HTTP.

    Args:
        kind: what it is called where the connection broke once it was there.
    """
    if isinstance(error, ClientConnectorError | ConnectionTimeoutError | InvalidURL):
        return ProviderError("unreachable", retryable=True, whole_aggregator=True)
    if isinstance(error, TimeoutError):
        return ProviderError("timeout")
    return ProviderError(kind, retryable=True)


async def _answer(response: ClientResponse) -> dict[str, Any]:
    """The JSON object of a response.

    Raises:
        ProviderError: its status says no, it broke off, or there is none.
    """
    try:
        answer = _json_object(await response.read())
    except FAULTS as error:
        raise lost(error, "connection_lost") from error
    if response.status != 200:
        raise failure_of(response.status, answer, response.headers)
    if answer is None:
        raise ProviderError("bad_body", status=200, retryable=True)
    return answer


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def failure_of(
    status: int, answer: dict[str, Any] | None, headers: Mapping[str, str]
) -> ProviderError:
    """A status that says no, with its body and headers -> what it means."""
    error = (answer or {}).get("error")
    if status in CALLERS_FAULT:
        told: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
        return ProviderError(
            f"status_{status}", status=status, rejected=UpstreamRejected(status, told)
        )
    return ProviderError(
        "rate_limited" if status == 429 else f"status_{status}",
        status=status,
        retryable=status in RETRYABLE or status >= 500,
        whole_aggregator=status in ACCOUNTS_FAULT and status != 403,
        retry_after_s=_retry_after(headers.get("retry-after")),
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds from now, a day at most; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except (ValueError, OverflowError):
            return None
    return None if isnan(seconds) else min(max(0.0, seconds), LONGEST_WAIT_S)


def error_in_body(answer: Mapping[str, Any]) -> None:
    """A 200's body or a stream's chunk that is an error: how OpenRouter reports a late failure.

    Raises:
        ProviderError: if it is one.
    """
    error = answer.get("error")
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        status = int(str(code)) if re.fullmatch("[45][0-9]{2}", str(code)) else 0
        if status:
            raise failure_of(status, dict(answer), {})
        raise ProviderError("error_in_body", status=200, retryable=True)
    choices = answer.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and (
            choice.get("error") or choice.get("finish_reason") == "error"
        ):
            raise ProviderError("error_in_body", status=200, retryable=True)


def _completion(answer: dict[str, Any], model: str) -> Completion:
    """Checks a 200's body: a chat completion's has choices, an embedding's has data."""
    error_in_body(answer)
    choices = answer.get("choices", answer.get("data"))
    if not (isinstance(choices, list) and choices and all(map(_is_choice, choices))):
        raise ProviderError("bad_body", status=200, retryable=True)
    served = answer.get("model")
    return Completion(
        body=answer,
        served_model=served if isinstance(served, str) and served else model,
        usage=read_usage(answer.get("usage")),
        cost_usd=read_cost(answer.get("usage")),
    )


def _is_choice(choice: object) -> bool:
    return isinstance(choice, dict) and (
        isinstance(choice.get("message"), dict) or "embedding" in choice
    )
