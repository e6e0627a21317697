"""Days -> the savings page's figures, as JSON: a query for each part of it, kept for a minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from fareway.athena import PARAMETERS, YEARS, QueryFailed, Row, load_query
from fareway.errors import BadRequest, LedgerUnavailable
from fareway.log import log
from fareway.policy import TIERS, Policy, Tier

#: Days of the page's first view, and of the longest.
USUAL_DAYS, MOST_DAYS = 30, 366
#: How wide a bucket of scores is in `scores.sql`.
BUCKET = 0.05


class Lake(Protocol):
    """What answers SQL: Athena."""

    def run(self, sql: str) -> Sequence[Row]: ...


@dataclass(slots=True)
class Savings:
    """What the ledger says of some days, for the page.

    Args:
        lake: makes the client, in a thread, when the first page is opened; None: there is no lake.
        fresh_s: how long an answer counts without asking again, seconds.
    """

    policy: Policy
    lake: Callable[[], Lake] | None
    fresh_s: float = 60.0
    now: Callable[[], float] = time.monotonic
    # threads of its own: the classifier's must not wait for Athena
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(3, "athena"))
    _making: threading.Lock = field(default_factory=threading.Lock)
    _client: Lake | None = None
    _kept: dict[tuple[str, date, date], tuple[float, asyncio.Task[dict[str, Any]]]] = field(
        default_factory=dict
    )

    async def figures(self, name: str, first: date, last: date) -> dict[str, Any]:
        """What the query `name`, one of PARTS, says of `first` to `last` (UTC, both included).

        Money is a decimal string. Those who ask the same at once share the query.

        Raises:
            LedgerUnavailable: Athena does not answer, or this deployment has none.
        """
        asked = (name, first, last)
        since, asking = self._kept.get(asked, (0.0, None))
        if asking is None or self.now() - since >= self.fresh_s or _failed(asking):
            self._kept = {k: v for k, v in self._kept.items() if self.now() - v[0] < self.fresh_s}
            asking = asyncio.create_task(self._ask(name, first, last))
            self._kept[asked] = (self.now(), asking)
        return await asyncio.shield(asking)

    async def _ask(self, name: str, first: date, last: date) -> dict[str, Any]:
        sql = load_query(name, first, last)
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._pool, self._run, sql)
        except (BotoCoreError, ClientError, QueryFailed) as error:
            log("error", "athena unavailable", error=type(error).__name__)
            raise LedgerUnavailable(f"The ledger cannot be read: {error}") from error
        return {
            "object": f"fareway.savings.{name}",
            "from": first.isoformat(),
            "to": last.isoformat(),
            "read_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "policy": _policy(self.policy),
            **PARTS[name](rows, first, last),
        }

    def _run(self, sql: str) -> Sequence[Row]:
        if self.lake is None:
            raise LedgerUnavailable(
                "This deployment has no lake to ask: set FAREWAY_ATHENA_WORKGROUP and "
                "FAREWAY_LEDGER_DATABASE.",
                code="no_ledger",
            )
        with self._making:  # boto3 makes one client at a time
            self._client = self._client or self.lake()
        return self._client.run(sql)


def _failed(asking: asyncio.Task[dict[str, Any]]) -> bool:
    return asking.done() and (asking.cancelled() or asking.exception() is not None)


def days_asked(first: str | None, last: str | None, today: date) -> tuple[date, date]:
    """`from` and `to` of a request, ISO dates -> the days; the last 30 where they are left out.

    Raises:
        BadRequest: no date, an end before the beginning, or more than a year.
    """
    to = _day("to", last) if last else today
    since = _day("from", first) if first else to - timedelta(days=USUAL_DAYS - 1)
    if since > to:
        raise BadRequest(f"'from' ({since}) is after 'to' ({to}).", param="from")
    if (to - since).days >= MOST_DAYS:
        raise BadRequest(f"At most {MOST_DAYS} days can be asked for at once.", param="from")
    return since, to


def _day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
        if day.year not in YEARS:
            raise ValueError(day)
        return day
    except ValueError:
        raise BadRequest(f"'{name}' is no date such as 2026-11-24.", param=name) from None


# ---- rows of each query, as Athena's text -> what the page is told ----

_COUNTS = ("requests", "answered", "failed", "cache_hits", "unpriced", "estimated")
_MONEY = ("cost_usd", "baseline_usd")


def _summary(rows: Sequence[Row], first: date, last: date) -> dict[str, Any]:
    """All of it, every day, and where requests went."""
    return {"totals": _totals(rows), "days": _by_day(first, last, rows), "flow": _flow(rows)}


def _sums(rows: Iterable[Row], counts: Sequence[str] = ("requests",)) -> dict[str, Any]:
    rows = list(rows)
    return {
        **{name: sum(int(row[name] or 0) for row in rows) for name in counts},
        **{
            name: _usd(sum((Decimal(row[name] or 0) for row in rows), Decimal(0)))
            for name in _MONEY
        },
    }


def _usd(amount: Decimal) -> str:
    return f"{amount:.9f}"


def _totals(rows: Sequence[Row]) -> dict[str, Any]:
    totals = _sums(rows, _COUNTS)
    baseline = Decimal(totals["baseline_usd"])
    saved = baseline - Decimal(totals["cost_usd"])
    share = float(saved / baseline) if baseline else None
    return {**totals, "saved_usd": _usd(saved), "saved_share": share}


def _grouped(rows: Iterable[Row], *names: str) -> dict[tuple[str | None, ...], list[Row]]:
    groups: dict[tuple[str | None, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _by_day(first: date, last: date, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every day, those without a request too."""
    groups = _grouped(rows, "day")
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    return [{"day": day, **_sums(groups.get((day,), ()))} for day in days]


def _flow(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What came in, where it was sent, and who answered; the most requests first."""
    flow = [
        {
            "complexity": _whole(complexity),
            "tier": tier,
            "lane": lane,
            "served_model": model,
            **_sums(group),
        }
        for (complexity, tier, lane, model), group in _grouped(
            rows, "complexity", "tier", "lane", "served_model"
        ).items()
    ]
    return sorted(flow, key=lambda way: -int(way["requests"]))


def _wasted(rows: Sequence[Row], *_: date) -> dict[str, Any]:
    """The dearest calls, how many there are in all, and how short is short."""
    names = ("decision_id", "occurred_at", "key_id", "served_model", "said_next")
    counts = ("complexity", "prompt_tokens", "completion_tokens")
    return {
        "calls": int(rows[0]["calls"] or 0) if rows else 0,
        "cost_usd": _usd(Decimal(rows[0]["calls_usd"] or 0)) if rows else _usd(Decimal(0)),
        "short": {
            "prompt_tokens": int(PARAMETERS["short_prompt_tokens"]),
            "completion_tokens": int(PARAMETERS["short_completion_tokens"]),
        },
        "rows": [
            {
                **{name: row[name] for name in names},
                **{name: _whole(row[name]) for name in counts},
                "score": None if row["score"] is None else round(float(row["score"]), 2),
                "cost_usd": None if row["cost_usd"] is None else _usd(Decimal(row["cost_usd"])),
            }
            for row in rows
        ],
    }


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _scores(rows: Sequence[Row], *_: date) -> dict[str, Any]:
    """A table without its names in each row: there are hundreds."""
    counts = ["bucket", "complexity", "requests", "prompt_tokens", "completion_tokens"]
    counts += ["judged", "failed"]
    chances = ["p1", "p2", "p3", "p4", "p5"]
    return {
        "bucket": BUCKET,
        "columns": ["tier", *counts, *_MONEY, *chances],
        "rows": [
            [
                row["tier"],
                *(_whole(row[name]) for name in counts),
                *(_usd(Decimal(row[name] or 0)) for name in _MONEY),
                *(round(float(row[name] or 0), 4) for name in chances),
            ]
            for row in rows
        ],
    }


#: What there is to ask: queries of `sql/`, and what is made of their rows.
PARTS: Mapping[str, Callable[[Sequence[Row], date, date], dict[str, Any]]] = {
    "summary": _summary,
    "wasted_premium": _wasted,
    "scores": _scores,
}


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "version": policy.version,
        "baseline": policy.baseline,
        "cuts": list(policy.cuts),
        "tiers": [_tier(policy, tier) for tier in TIERS],
    }


def _tier(policy: Policy, tier: Tier) -> dict[str, Any]:
    """A tier at the list price of the model that is tried first."""
    table = policy.tiers[tier]
    model = table.models[0]
    price = policy.price(model, next(iter(policy.models[model].ids)))
    return {
        "tier": tier,
        "complexity": table.complexity,
        "model": model,
        "usd_per_mtok": {"input": f"{price.input:f}", "output": f"{price.output:f}"},
    }
