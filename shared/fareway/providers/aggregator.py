"""One aggregator's chat completions: TokenMix, OpenRouter, Portkey, LiteLLM, any OpenAI-like.

What differs between them is data (base URL, headers, key); what goes wrong is told apart here
once, as a `ProviderError` that says whether to try again, elsewhere, or not at all.

Sources: openrouter.ai/docs/api/reference/errors-and-debugging and /use-cases/usage-accounting,
tokenmix.ai/docs/error-codes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx

from fareway.errors import ProviderError, UpstreamRejected
from fareway.prices import Usage

#: Statuses that say: the request itself is wrong, and would be wrong anywhere.
CALLERS_FAULT = frozenset({400, 413, 415, 422})
#: Our account at this aggregator: no key, no credit, or no right. Another aggregator may answer.
ACCOUNTS_FAULT = frozenset({401, 402, 403})
RETRYABLE = frozenset({408, 409, 425, 429})


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


@dataclass(frozen=True, slots=True)
class Aggregator:
    """One aggregator over the shared, pooled httpx client."""

    name: str
    base_url: str
    api_key: str
    client: httpx.AsyncClient
    headers: Mapping[str, str]

    async def complete(self, model: str, body: Mapping[str, Any], timeout_s: float) -> Completion:
        """One attempt at one model.

        Args:
            model: its name at this aggregator.
            body: the caller's request; sent on untouched but for model and streaming.
            timeout_s: for the whole attempt, seconds.

        Raises:
            ProviderError: no usable answer; its fields say what to do next.
        """
        sent = {k: v for k, v in body.items() if k not in ("stream", "stream_options")}
        sent["model"] = model
        try:
            response = await self.client.post(
                self.base_url.rstrip("/") + "/chat/completions",
                content=json.dumps(sent, separators=(",", ":")).encode(),
                headers={
                    **self.headers,
                    "content-type": "application/json",
                    "authorization": f"Bearer {self.api_key}",
                },
                timeout=timeout_s,
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise ProviderError("unreachable", retryable=True, whole_aggregator=True) from error
        except httpx.TimeoutException as error:
            raise ProviderError("timeout") from error
        except httpx.HTTPError as error:
            raise ProviderError("connection_lost", retryable=True) from error
        answer = _json_object(response)
        if response.status_code != 200:
            raise _failure(response.status_code, answer, response.headers)
        if answer is None:
            raise ProviderError("bad_body", status=200, retryable=True)
        return _completion(answer, model)


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _failure(
    status: int, answer: dict[str, Any] | None, headers: Mapping[str, str]
) -> ProviderError:
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
    """Seconds from now; the header holds seconds or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def _completion(answer: dict[str, Any], model: str) -> Completion:
    """Checks a 200 body: OpenRouter reports a late failure inside of one."""
    error = answer.get("error")
    if error is not None:
        code = error.get("code") if isinstance(error, dict) else None
        status = int(str(code)) if str(code).isdigit() else 502
        raise (
            _failure(status, answer, {})
            if status >= 400
            else ProviderError("error_in_body", status=200, retryable=True)
        )
    choices = answer.get("choices")
    if not (
        isinstance(choices, list)
        and choices
        and all(isinstance(c, dict) and isinstance(c.get("message"), dict) for c in choices)
    ):
        raise ProviderError("bad_body", status=200, retryable=True)
    if any(c.get("error") or c.get("finish_reason") == "error" for c in choices):
        raise ProviderError("error_in_body", status=200, retryable=True)
    reported = answer.get("usage")
    usage = reported if isinstance(reported, dict) else {}
    served = answer.get("model")
    return Completion(
        body=answer,
        served_model=served if isinstance(served, str) and served else model,
        usage=read_usage(usage),
        cost_usd=_cost(usage.get("cost")),
    )


def read_usage(usage: Mapping[str, Any]) -> Usage | None:
    """A `usage` object of OpenAI, OpenRouter or DeepSeek -> Usage; None if it tells nothing."""

    def count(value: Any) -> int:
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    def details(name: str) -> Mapping[str, Any]:
        value = usage.get(name)
        return value if isinstance(value, dict) else {}

    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if not prompt and not completion:
        return None
    inputs, outputs = details("prompt_tokens_details"), details("completion_tokens_details")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=count(inputs.get("cached_tokens"))
        or count(usage.get("prompt_cache_hit_tokens")),
        cache_write_tokens=count(inputs.get("cache_write_tokens")),
        reasoning_tokens=count(outputs.get("reasoning_tokens")),
    )


def _cost(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost >= 0 else None
