"""Caller -> whether its key has a request left in this minute. Counted in DynamoDB.

Minutes are those of the clock, each an item of its own: so one conditional write both asks and
counts, where a sliding window or a token bucket must read first, or write twice. The price is that
up to twice the rate may pass within 60 seconds that straddle two minutes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws, condition_failed
from fareway.caller import Caller
from fareway.errors import RateLimited
from fareway.log import log

WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a key stands. Units: requests a minute, and seconds until the next one begins."""

    limit: int
    remaining: int
    reset_s: float

    def headers(self) -> dict[str, str]:
        """As OpenAI's clients read them. Source: platform.openai.com/docs/guides/rate-limits."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": _duration(self.reset_s),
        }


@dataclass(slots=True)
class Rates:
    """The minutes of all keys.

    Args:
        table: the spend table; empty: nothing is counted and every request passes.
        budget_s: how long the table may take, seconds.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str
    budget_s: float = 1.0
    now: Callable[[], float] = time.time

    async def admit(self, caller: Caller) -> Rate | None:
        """Counts a request of this key; None where it has no rate.

        A table that does not answer lets the request pass, also with None.

        Raises:
            RateLimited: the key has no request left in this minute.
        """
        limit = caller.allowance.requests_per_minute
        if not self.table or limit is None:
            return None
        now = self.now()
        begun = int(now // WINDOW_S) * WINDOW_S
        reset_s = begun + WINDOW_S - now
        minute = datetime.fromtimestamp(begun, UTC).strftime("%Y-%m-%dT%H:%M")
        try:
            async with asyncio.timeout(self.budget_s):
                client = await self.aws.client("dynamodb")
                answer = await client.update_item(
                    TableName=self.table,
                    Key={"counter": {"S": f"{caller.key_id}#{minute}"}},
                    UpdateExpression="ADD #requests :one SET #expires_at = :gone",
                    ConditionExpression="attribute_not_exists(#requests) OR #requests < :limit",
                    ExpressionAttributeNames={
                        "#requests": "requests",
                        "#expires_at": "expires_at",
                    },
                    ExpressionAttributeValues={
                        ":one": {"N": "1"},
                        ":limit": {"N": str(limit)},
                        ":gone": {"N": str(begun + 10 * WINDOW_S)},
                    },
                    ReturnValues="ALL_NEW",
                )
        except (BotoCoreError, ClientError, TimeoutError, OSError) as error:
            if condition_failed(error):
                raise _over(Rate(limit, 0, reset_s)) from error
            log("error", "rate not counted", key_id=caller.key_id, error=type(error).__name__)
            return None
        return Rate(limit, limit - int(answer["Attributes"]["requests"]["N"]), reset_s)


def _over(rate: Rate) -> RateLimited:
    error = RateLimited(
        f"Rate limit reached for requests: this key has {rate.limit} a minute. "
        f"Try again in {_duration(rate.reset_s)}.",
        retry_after_s=rate.reset_s,
    )
    error.headers |= rate.headers()
    return error


def _duration(seconds: float) -> str:
    """As Go writes durations, and OpenAI with it: `6ms`, `17s`, `1m0s`; rounded up."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
