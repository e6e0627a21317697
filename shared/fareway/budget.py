"""Caller + what a call may cost -> a reservation, settled with what it did cost.

A key has one item for each UTC month: `month`, each day, and each open reservation, all in
nano-USD. So one conditional write asks and reserves in both budgets, all or nothing. A transaction
over two items, or two writes and the first undone, would cost twice as much; and transactions on
one busy item cancel each other, where single writes queue.

A budget is overrun at most by what the requests that run at one time cost above their estimates.
A reservation that is never settled, as when a function is killed, counts until its day and month
are over.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws, condition_failed
from fareway.caller import Allowance, Caller
from fareway.errors import BudgetExceeded
from fareway.log import log

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NANO = 10**9
#: How long a month's item is kept after it, days.
KEPT_DAYS = 31
_FAILURES = (BotoCoreError, ClientError, TimeoutError, OSError)

_RESERVE = "ADD #month :nano, #day :nano SET #held = :nano, #expires_at = :gone"
_SETTLE = "ADD #month :nano, #day :nano REMOVE #held"
_COUNT = "ADD #month :nano, #day :nano SET #expires_at = :gone"


@dataclass(slots=True)
class Reservation:
    """What is held of a key's budgets until the cost of the call is known.

    Args:
        id: the attribute of the month's item that shows it as open.
        at: when it was made; its day and month take the cost, however late that comes.
        nano: what is held, nano-USD.
        left_usd: what the tighter budget has left beside it, USD; None if the table did not say.
        certain: whether the table has confirmed it.
    """

    key_id: str
    id: str
    at: datetime
    nano: int
    left_usd: Decimal | None = None
    certain: bool = False
    settled: bool = False


@dataclass(slots=True)
class Budgets:
    """The budgets of all keys.

    Args:
        table: the spend table; empty: nothing is counted and every request passes.
        budget_s: how long the table may take, seconds.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str
    budget_s: float = 1.0
    now: Callable[[], float] = time.time
    _settling: set[asyncio.Task[None]] = field(default_factory=set)

    async def reserve(
        self, caller: Caller, estimate_usd: Decimal, *, over: bool = False
    ) -> Reservation | None:
        """Holds an estimate in the key's budgets; None where it has none, at no cost.

        A table that does not answer lets the request pass; `settle` still tries to count it.

        Args:
            estimate_usd: what the call may cost, USD.
            over: count it even though the budgets have no room for it.

        Raises:
            BudgetExceeded: the day or the month has no room, and nothing was counted.
        """
        if not self.table or not caller.allowance.has_budget:
            return None
        held = Reservation(
            caller.key_id,
            f"held {uuid.uuid4().hex[:16]}",
            datetime.fromtimestamp(self.now(), UTC),
            int((estimate_usd * NANO).to_integral_value(ROUND_CEILING)),
        )
        limits = _limits(caller.allowance)
        rooms = {} if over else {name: limit - held.nano for name, limit in limits.items()}
        condition = " AND ".join(_has_room(name, room) for name, room in rooms.items())
        try:
            item = await self._write(held, held.nano, _RESERVE, condition, rooms)
        except _FAILURES as error:
            if not condition_failed(error):
                log("error", "budget not reserved", key_id=held.key_id, error=type(error).__name__)
                return held
            item = getattr(error, "response", {}).get("Item", {})
            if held.id not in item:  # else the SDK tried twice, and the first try had worked
                _refuse(held, limits, item, error)
        held.certain = True
        spent = _spent(item, held.at)
        held.left_usd = _usd(max(0, min(limits[name] - spent[name] for name in limits)))
        return held

    async def settle(self, held: Reservation | None, cost_usd: Decimal | None) -> None:
        """Puts the cost in the estimate's place; a second time changes nothing. Never raises.

        It is finished even if whoever waits for it is cancelled, as when a client goes away.

        Args:
            cost_usd: USD; 0 where nothing was answered; None where it is not known: then the
                estimate stands.
        """
        if held is None or held.settled:
            return
        held.settled = True
        cost = held.nano if cost_usd is None else int((cost_usd * NANO).to_integral_value())
        settling = asyncio.create_task(self._settle(held, cost))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    async def close(self) -> None:
        """Waits for what is still being settled."""
        await asyncio.gather(*self._settling)

    async def _settle(self, held: Reservation, cost: int) -> None:
        try:
            try:
                await self._write(held, cost - held.nano, _SETTLE, "attribute_exists(#held)")
            except ClientError as error:
                if not condition_failed(error):
                    raise
                if not held.certain:  # it had not reached the table
                    await self._write(held, cost, _COUNT)
        except _FAILURES as error:
            log(
                "error",
                "budget not settled",
                key_id=held.key_id,
                day=_day(held.at),
                held_nano_usd=held.nano,
                cost_nano_usd=cost,
                error=type(error).__name__,
            )

    async def _write(
        self,
        held: Reservation,
        nano: int,
        update: str,
        condition: str = "",
        rooms: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """One write to the reservation's month -> the item after it."""
        names = {
            "#month": "month",
            "#day": _day(held.at),
            "#held": held.id,
            "#expires_at": "expires_at",
        }
        gone = _next_month(held.at) + timedelta(days=KEPT_DAYS)
        numbers = {":nano": nano, ":gone": int(gone.timestamp())}
        numbers |= {_room(name): room for name, room in (rooms or {}).items()}
        text = f"{update} {condition}"  # DynamoDB refuses a name or value that is not in it
        request: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        async with asyncio.timeout(self.budget_s):
            client = await self.aws.client("dynamodb")
            answer = await client.update_item(
                TableName=self.table,
                Key=_key(held.key_id, held.at),
                UpdateExpression=update,
                ExpressionAttributeNames={k: v for k, v in names.items() if k in text},
                ExpressionAttributeValues={
                    k: {"N": str(v)} for k, v in numbers.items() if k in text
                },
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **request,
            )
        return dict(answer["Attributes"])


def _limits(allowance: Allowance) -> dict[str, int]:
    """Placeholder of the attribute -> its budget, nano-USD."""
    budgets = {"#month": allowance.monthly_usd, "#day": allowance.daily_usd}
    return {name: int(usd * NANO) for name, usd in budgets.items() if usd is not None}


def _room(name: str) -> str:
    return f":{name[1:]}_room"


def _has_room(name: str, room: int) -> str:
    """The condition that an attribute is at most `room`, or not there yet and so 0."""
    fresh = f"attribute_not_exists({name}) OR " if room >= 0 else ""
    return f"({fresh}{name} <= {_room(name)})"


def _spent(item: Mapping[str, Any], at: datetime) -> dict[str, int]:
    """What an item says of its month and of one day, nano-USD."""

    def number(name: str) -> int:
        return int(item[name]["N"]) if name in item else 0

    return {"#month": number("month"), "#day": number(_day(at))}


def _usd(nano: int) -> Decimal:
    return (Decimal(nano) / NANO).normalize()


def _refuse(
    held: Reservation, limits: Mapping[str, int], item: Mapping[str, Any], cause: Exception
) -> NoReturn:
    """The month first: when it is used up, a new day does not help."""
    spent = _spent(item, held.at)
    left = {name: _usd(max(0, limit - spent[name])) for name, limit in limits.items()}
    cost = _usd(held.nano)
    full = next((name for name in left if left[name] < cost), next(iter(left)))
    word, resets = (
        ("monthly", _next_month(held.at))
        if full == "#month"
        else ("daily", _midnight(held.at) + timedelta(days=1))
    )
    raise BudgetExceeded(
        f"This key's {word} budget of {_usd(limits[full]):f} USD has {left[full]:f} USD left, "
        f"and this request may cost {cost:f} USD. A new one begins at {resets:%Y-%m-%d %H:%M} UTC; "
        "before that, a request with a lower 'max_completion_tokens' may still fit.",
        left_usd=min(left.values()),
    ) from cause


def _key(key_id: str, at: datetime) -> dict[str, Any]:
    return {"counter": {"S": f"{key_id}#{at:%Y-%m}"}}


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _next_month(at: datetime) -> datetime:
    return (_midnight(at).replace(day=1) + timedelta(days=32)).replace(day=1)


# What the command line shows; never on the request path.


def spent_usd(
    client: DynamoDBClient, table: str, key_id: str, at: datetime
) -> tuple[Decimal, Decimal]:
    """What a key has spent and reserved on a day, and in its month so far, USD."""
    item = client.get_item(TableName=table, Key=_key(key_id, at)).get("Item", {})
    spent = _spent(item, at)
    return _usd(spent["#day"]), _usd(spent["#month"])
