"""Every error that Fareway raises, and how each looks at the API.

FarewayError
├── BadRequest            400  the caller can mend it; names the field
│   ├── PayloadTooLarge   413
│   ├── ModelNotFound     404
│   └── DecisionNotFound  404
├── Unauthorised          401
├── BudgetExceeded        402  the key's budget has no room for the request
├── Forbidden             403  the key may not have what the request asks for
├── RateLimited           429  the key has no request left in this minute
├── KeysUnavailable       503  the key table does not answer and the key is not known here
├── MemoryUnavailable     503  what was asked of memory, or told to it, can't be had now
├── LedgerUnavailable     503  what the ledger knows can't be had now, or there is none here
├── NoAggregator          503  no aggregator has a key
├── UpstreamRejected      4xx  an upstream says that the request itself is wrong
├── AllCandidatesFailed   502, 504 or 429
├── StreamBroke           502 or 504, told in the stream: its content had begun
├── ProviderError              one call failed; never leaves `dispatch`, `teacher` or `label`
├── ClassifierUnavailable      the request goes on, unclassified
├── TeacherDown                labelling stops; what was labelled is kept
└── ConfigError                at start only; lists every fault at once
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any


class FarewayError(Exception):
    """Catch this at the outermost door only. Its fields are OpenAI's error body."""

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after_s = retry_after_s
        self.decision_id: str | None = None  # set where a decision was already made
        self.headers: dict[str, str] = {}  # what the answer says besides

    def body(self) -> dict[str, Any]:
        """OpenAI's error body. Source: platform.openai.com/docs/guides/error-codes."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(FarewayError):
    status = 400
    type = "invalid_request_error"


class PayloadTooLarge(BadRequest):
    status = 413
    code = "request_too_large"


class ModelNotFound(BadRequest):
    status = 404
    code = "model_not_found"


class DecisionNotFound(BadRequest):
    status = 404
    code = "decision_not_found"


class MemoryUnavailable(FarewayError):
    status = 503
    code = "memory_unavailable"


class LedgerUnavailable(FarewayError):
    status = 503
    code = "ledger_unavailable"


class Unauthorised(FarewayError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class BudgetExceeded(FarewayError):
    """402 and not OpenAI's 429, which its clients would try again at once.

    Args:
        left_usd: what the key's tighter budget has left, USD.
    """

    status = 402
    type = "insufficient_quota"
    code = "budget_exceeded"

    def __init__(self, message: str, *, left_usd: Decimal) -> None:
        super().__init__(message)
        self.left_usd = left_usd
        self.headers["x-fareway-budget-remaining-usd"] = f"{left_usd:f}"


class Forbidden(FarewayError):
    status = 403
    type = "invalid_request_error"


class RateLimited(FarewayError):
    """`type` and `code` are OpenAI's for too many requests a minute."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"


class KeysUnavailable(FarewayError):
    status = 503
    code = "keys_unavailable"


class NoAggregator(FarewayError):
    status = 503
    code = "no_aggregator"


class UpstreamRejected(FarewayError):
    """The upstream's own verdict on the caller's request, passed on in OpenAI's shape."""

    type = "invalid_request_error"

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        message = str(error.get("message") or f"The model refused the request ({status}).")
        param, code = error.get("param"), error.get("code")
        super().__init__(
            message,
            param=str(param) if param is not None else None,
            code=str(code) if code is not None else None,
        )
        self.status = status
        if isinstance(error.get("type"), str):
            self.type = error["type"]


class AllCandidatesFailed(FarewayError):
    code = "all_candidates_failed"

    def __init__(self, status: int, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status
        self.type = "rate_limit_error" if status == 429 else "server_error"


class StreamBroke(FarewayError):
    """What a caller reads in the middle of a stream that cannot go on."""

    code = "stream_broke"

    def __init__(self, kind: str, decision_id: str) -> None:
        super().__init__(
            f"The upstream's answer broke off ({kind}). What was sent is incomplete; the request "
            "can be retried."
        )
        self.status = 504 if kind in ("stalled", "deadline", "timeout") else 502
        self.decision_id = decision_id


class ProviderError(FarewayError):
    """One attempt at one candidate failed.

    Args:
        kind: what happened, as the ledger and the logs name it: `unreachable`, `timeout`,
            `rate_limited`, `status_503`, `bad_body`, `error_in_body`, `cut_stream`, `stalled`, ...
        retryable: whether the same candidate may well answer a moment later.
        whole_aggregator: whether its other models would fail the same way.
        rejected: the upstream's error when the caller's request is at fault: not retried.
    """

    def __init__(
        self,
        kind: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        whole_aggregator: bool = False,
        retry_after_s: float | None = None,
        rejected: UpstreamRejected | None = None,
    ) -> None:
        super().__init__(kind, retry_after_s=retry_after_s)
        self.kind = kind
        self.upstream_status = status
        self.retryable = retryable
        self.whole_aggregator = whole_aggregator
        self.rejected = rejected


class ClassifierUnavailable(FarewayError):
    pass


class TeacherDown(FarewayError):
    pass


class ConfigError(FarewayError):
    """A file or an environment that cannot be used, with all its faults."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{source}: " + "; ".join(self.faults))
