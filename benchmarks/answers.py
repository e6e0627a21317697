"""What each query of `fareway/sql` has to answer of some traffic, worked out without SQL.

It goes over the events one by one, each once, whatever arrived how often: a second way to the same
figures, for `benchmarks.lake` and the tests to hold the SQL against.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from benchmarks.traffic import Traffic
from fareway.athena import PARAMETERS
from fareway.cost import CostEvent

Rows = list[dict[str, Any]]
RANK = {None: 0, "cheap": 1, "mid": 2, "premium": 3}
BANDS = (272_001, 256_001, 200_001, 200_000, 128_001, 100_001, 32_001, 0)


def answers(traffic: Traffic, first: date, last: date) -> dict[str, Rows]:
    """Query -> its rows, in any order, by column."""
    days = (first.isoformat(), last.isoformat())
    seen = [e for e in traffic.events if days[0] <= _day(e) <= days[1]]
    after = _after(traffic, days[0])
    ratings = _ratings(traffic)
    return {
        "totals": [_totals(seen)],
        "by_day": _money_by(seen, lambda e: {"day": _day(e)}),
        "by_tier": _money_by(seen, lambda e: {"tier": e.tier or "direct", "lane": e.lane}),
        "by_model": _money_by(seen, _server),
        "by_key": _money_by(seen, lambda e: {"tenant_hash": e.tenant_hash, "key_id": e.key_id}),
        "by_tag": _money_by(seen, lambda e: {"tags": e.tags or "{}"}),
        "wasted_premium": _wasted(seen, after, ratings),
        "failed_tiers": _failed(seen, after, ratings),
        "cache_value": _cache(seen),
        "reliability": _reliability(seen),
        "latency": _latency(seen),
        "classifier_value": _classifier(seen),
        "tokens": _tokens(seen),
        "forecast": [_forecast(traffic.events, first, last)],
        "rollup_days": _rollup(seen, _hour),
        "summary": _rollup(seen, _way),
        "tuner": [
            _observed(e) | {"rating": ratings.get(e.decision_id)}
            for e in seen
            if e.lane != "direct"
        ],
        "scores": _scores(seen, after, ratings),
    }


#: What the tuner reads of an event.
_OBSERVED = (
    "decision_id", "occurred_at", "tenant_hash", "session_hash", "score", "tier", "lane",
    "propensity", "explored", "follow_up", "session_floor", "requested_model", "prompt_tokens",
    "completion_tokens", "status", "classifier_version",
)  # fmt: skip


def _observed(event: CostEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _OBSERVED}


def _day(event: CostEvent) -> str:
    return event.occurred_at[:10]


def _server(event: CostEvent) -> dict[str, Any]:
    none = "(none)"
    return {"served_model": event.served_model or none, "aggregator": event.aggregator or none}


def _sum(values: Iterable[Any]) -> Any:
    """As SQL adds: what is null is left out, and nothing at all is null."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _grouped(
    events: Iterable[CostEvent], name: Callable[[CostEvent], Mapping[str, Any]]
) -> list[tuple[dict[str, Any], list[CostEvent]]]:
    groups = defaultdict[tuple[tuple[str, Any], ...], list[CostEvent]](list)
    for event in events:
        groups[tuple(name(event).items())].append(event)
    return [(dict(names), of_it) for names, of_it in groups.items()]


def _money(events: Sequence[CostEvent]) -> dict[str, Any]:
    return {
        "requests": len(events),
        "prompt_tokens": _sum(e.prompt_tokens for e in events),
        "completion_tokens": _sum(e.completion_tokens for e in events),
        "cost_usd": _sum(e.cost_usd for e in events),
        "unpriced": sum(e.served_model is not None and e.cost_usd is None for e in events),
        "baseline_usd": _sum(e.baseline_usd for e in events if e.cost_usd is not None),
    }


def _money_by(events: Sequence[CostEvent], name: Callable[[CostEvent], Mapping[str, Any]]) -> Rows:
    return [names | _money(of_it) for names, of_it in _grouped(events, name)]


def _percentile(values: Iterable[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(percent * len(ordered) / 100) - 1]


def _totals(events: Sequence[CostEvent]) -> dict[str, Any]:
    money = _money(events)
    middle = (len(events) + 1) // 2 - 1
    return {
        "requests": len(events),
        "answered": sum(e.status == 200 for e in events),
        "cache_hits": sum(e.cache_hit != "none" for e in events),
        "answered_by_failover": sum(e.failovers > 0 and e.status == 200 for e in events),
        "estimated": sum(e.cost_source == "estimated" for e in events),
        **{name: money[name] for name in ("unpriced", "cost_usd", "baseline_usd")},
        "classifier_p50_ms": sorted(e.classifier_ms for e in events)[middle],
        "overhead_p50_ms": sorted(e.total_ms - e.upstream_ms for e in events)[middle],
    }


def _after(traffic: Traffic, since: str) -> dict[str, CostEvent]:
    """Decision -> the next event of its session."""
    sessions = defaultdict[tuple[str, str], list[CostEvent]](list)
    for event in traffic.events:
        if event.session_hash is not None and _day(event) >= since:
            sessions[event.tenant_hash, event.session_hash].append(event)
    following: dict[str, CostEvent] = {}
    for turns in sessions.values():
        turns.sort(key=lambda e: (e.occurred_at, e.decision_id))
        following |= {turns[n].decision_id: turns[n + 1] for n in range(len(turns) - 1)}
    return following


def _said(event: CostEvent, after: Mapping[str, CostEvent]) -> str | None:
    following = after.get(event.decision_id)
    return following.follow_up if following else None


def _wasted(
    seen: Sequence[CostEvent], after: Mapping[str, CostEvent], ratings: Mapping[str, str]
) -> Rows:
    def lifted_after(event: CostEvent) -> bool:
        following = after.get(event.decision_id)
        return bool(
            following
            and following.follow_up
            and following.escalated
            and following.raised is None
            and following.tier == "premium"
            and event.session_floor != "premium"
        )

    wasted = [
        e
        for e in seen
        if e.tier == "premium"
        and (e.lane, e.requested_model) == ("standard", "fareway/auto")
        and not (e.escalated or e.raised or e.explored)
        and e.status == 200
        and (e.prompt_tokens or 0) <= PARAMETERS["short_prompt_tokens"]
        and (e.completion_tokens or 0) <= PARAMETERS["short_completion_tokens"]
        and _said(e, after) != "complaint"
        and not lifted_after(e)
        and ratings.get(e.decision_id) != "down"
    ]
    all_of_them = {"calls": len(wasted), "calls_usd": _sum(e.cost_usd for e in wasted)}
    wasted.sort(key=lambda e: (-(e.cost_usd or 0), e.decision_id))
    names = ("decision_id", "occurred_at", "key_id", "served_model", "complexity", "score")
    names += ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_usd")
    return [
        {n: getattr(e, n) for n in names} | {"said_next": _said(e, after)} | all_of_them
        for e in wasted[:100]
    ]


#: Judged, complained of, lifted after it, rated down.
Outcome = tuple[bool, bool, bool, bool]


def _ratings(traffic: Traffic) -> dict[str, str]:
    """The latest of each answer."""
    return {o.decision_id: o.rating for o in sorted(traffic.opinions, key=lambda o: o.occurred_at)}


def _outcomes(
    seen: Sequence[CostEvent], after: Mapping[str, CostEvent], ratings: Mapping[str, str]
) -> dict[str, Outcome]:
    """Decision -> what came of its answer."""

    def outcome(event: CostEvent) -> Outcome:
        following = after.get(event.decision_id)
        said, rating = _said(event, after), ratings.get(event.decision_id)
        lifted = bool(
            following
            and said
            and following.escalated
            and following.raised is None
            and RANK[following.tier] > max(RANK[event.tier], RANK[event.session_floor])
        )
        return bool(said or rating), said == "complaint", lifted, rating == "down"

    return {event.decision_id: outcome(event) for event in seen}


def _failed(
    seen: Sequence[CostEvent], after: Mapping[str, CostEvent], ratings: Mapping[str, str]
) -> Rows:
    came = _outcomes(seen, after, ratings)
    rows = []
    answered = [e for e in seen if e.status == 200 and e.tier]
    for names, of_it in _grouped(
        answered, lambda e: {"tier": e.tier, "served_model": e.served_model}
    ):
        outcomes = [came[e.decision_id] for e in of_it]
        judged, complaints, lifted, down = (sum(column) for column in zip(*outcomes, strict=True))
        faulty = [e for e, told in zip(of_it, outcomes, strict=True) if any(told[1:])]
        rows.append(
            {
                **names,
                "answered": len(of_it),
                "judged": judged,
                "complaints": complaints,
                "lifted_after": lifted,
                "rated_down": down,
                "failed": len(faulty),
                "failed_usd": _sum(e.cost_usd for e in faulty),
            }
        )
    return rows


def _cache(seen: Sequence[CostEvent]) -> Rows:
    routed = [e for e in seen if e.complexity is not None]
    missed = [e.classifier_ms for e in routed if e.cache_hit == "none"]
    miss_ms = math.fsum(missed) / len(missed)
    rows = []
    for names, hits in _grouped(routed, lambda e: {"cache_hit": e.cache_hit}):
        saved_ms = math.fsum(miss_ms - e.classifier_ms for e in hits if e.cache_hit != "none")
        gb_s = saved_ms / 1000 * float(PARAMETERS["memory_gb"])
        rows.append(
            {
                **names,
                "requests": len(hits),
                "share": len(hits) / len(routed),
                "mean_cache_ms": math.fsum(e.cache_ms for e in hits) / len(hits),
                "mean_classifier_ms": math.fsum(e.classifier_ms for e in hits) / len(hits),
                "saved_ms": saved_ms,
                "saved_usd": gb_s * float(PARAMETERS["gb_second_usd"]),
            }
        )
    return rows


def _reliability(seen: Sequence[CostEvent]) -> Rows:
    return [
        {
            **names,
            "requests": len(of_it),
            "answered": sum(e.status == 200 for e in of_it),
            "answered_by_failover": sum(e.status == 200 and e.failovers > 0 for e in of_it),
            "left_early": sum(e.status == 499 for e in of_it),
            "refused": sum(400 <= e.status < 499 for e in of_it),
            "failed": sum(e.status >= 500 for e in of_it),
            "attempts": sum(e.attempts for e in of_it),
            "failovers": sum(e.failovers for e in of_it),
        }
        for names, of_it in _grouped(
            seen, lambda e: {"day": _day(e), "aggregator": e.aggregator or "(none)"}
        )
    ]


def _latency(seen: Sequence[CostEvent]) -> Rows:
    answered = [e for e in seen if e.status == 200]
    routed = [e for e in answered if e.complexity is not None]
    spans = {
        "cache": [e.cache_ms for e in routed],
        "classifier": [e.classifier_ms for e in routed if e.cache_hit == "none"],
        "upstream": [e.upstream_ms for e in answered],
        "first token": [e.first_token_ms for e in answered if e.first_token_ms is not None],
        "overhead": [e.total_ms - e.upstream_ms for e in answered],
        "total": [e.total_ms for e in answered],
    }
    return [
        {"stage": stage, "requests": len(ms), "mean_ms": math.fsum(ms) / len(ms)}
        | {f"p{p}_ms": _percentile(ms, p) for p in (50, 90, 95, 99)}
        for stage, ms in spans.items()
    ]


def _classifier(seen: Sequence[CostEvent]) -> Rows:
    rows = []
    for names, of_it in _grouped(
        (e for e in seen if e.complexity is not None), lambda e: {"day": _day(e)}
    ):
        ms = math.fsum(e.classifier_ms for e in of_it)
        usd = ms / 1000 * float(PARAMETERS["memory_gb"]) * float(PARAMETERS["gb_second_usd"])
        priced = [e for e in of_it if e.cost_usd is not None]
        rows.append(
            {
                **names,
                "routed": len(of_it),
                "classified": sum(e.classifier_ms > 0 for e in of_it),
                "classifier_ms": ms,
                "classifier_usd": usd,
                "saved_usd": _sum(e.saving_usd for e in priced),
            }
        )
    return rows


def _tokens(seen: Sequence[CostEvent]) -> Rows:
    kinds = ("cost_usd", "baseline_usd", "prompt_tokens", "cached_tokens")
    kinds += ("cache_write_tokens", "completion_tokens", "reasoning_tokens")
    return [
        {**names, "requests": len(of_it)}
        | {kind: _sum(getattr(e, kind) for e in of_it) for kind in kinds}
        for names, of_it in _grouped(
            (e for e in seen if e.served_model and e.prompt_tokens is not None),
            lambda e: {
                **_server(e),
                "cost_source": e.cost_source or "unpriced",
                "prompts_from": next(b for b in BANDS if (e.prompt_tokens or 0) >= b),
                "audio": int(bool(e.audio_tokens)),
            },
        )
    ]


def _forecast(events: Sequence[CostEvent], first: date, last: date) -> dict[str, Any]:
    """Of the month of `first`, seen from the evening of `last`."""

    def spent(since: date, column: str) -> float:
        days = (since.isoformat(), last.isoformat())
        priced = [e for e in events if e.cost_usd is not None and days[0] <= _day(e) <= days[1]]
        return float(sum((getattr(e, column) for e in priced), Decimal(0)))

    week = [last - timedelta(days=n) for n in range(7)]
    by_day = [spent(day, "cost_usd") - spent(day + timedelta(days=1), "cost_usd") for day in week]
    next_month = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    left = (next_month - last).days - 1
    return {
        "spent_usd": spent(first, "cost_usd"),
        "daily_usd": sum(by_day) / 7,
        "days_left": left,
        "month_usd": spent(first, "cost_usd") + left * sum(by_day) / 7,
        "month_least_usd": spent(first, "cost_usd") + left * min(by_day),
        "month_most_usd": spent(first, "cost_usd") + left * max(by_day),
        "month_baseline_usd": spent(first, "baseline_usd")
        + left * spent(week[-1], "baseline_usd") / 7,
    }


def _way(event: CostEvent) -> dict[str, Any]:
    return {
        "day": _day(event),
        "tier": event.tier or "direct",
        "complexity": event.complexity,
        "lane": event.lane,
        "served_model": event.served_model or "(none)",
    }


def _hour(event: CostEvent) -> dict[str, Any]:
    who = {"tenant_hash": event.tenant_hash, "key_id": event.key_id}
    return {"hour": int(event.occurred_at[11:13]), **_way(event), **_server(event), **who}


def _rollup(seen: Sequence[CostEvent], name: Callable[[CostEvent], Mapping[str, Any]]) -> Rows:
    return [
        {
            **names,
            **_money(of_it),
            "prompt_tokens": sum(e.prompt_tokens or 0 for e in of_it),
            "completion_tokens": sum(e.completion_tokens or 0 for e in of_it),
            "answered": sum(e.status == 200 for e in of_it),
            "failed": sum(e.status >= 500 for e in of_it),
            "answered_by_failover": sum(e.status == 200 and e.failovers > 0 for e in of_it),
            "cache_hits": sum(e.cache_hit != "none" for e in of_it),
            "escalated": sum(e.escalated for e in of_it),
            "estimated": sum(e.cost_source == "estimated" for e in of_it),
            "classifier_ms": math.fsum(e.classifier_ms for e in of_it),
            "upstream_ms": math.fsum(e.upstream_ms for e in of_it),
            "total_ms": math.fsum(e.total_ms for e in of_it),
        }
        for names, of_it in _grouped(seen, name)
    ]


def _scores(
    seen: Sequence[CostEvent], after: Mapping[str, CostEvent], ratings: Mapping[str, str]
) -> Rows:
    came = _outcomes(seen, after, ratings)

    def bucket(event: CostEvent) -> int | None:
        by_cuts = (event.lane, event.requested_model) == ("standard", "fareway/auto") and not (
            event.escalated or event.raised or event.explored
        )
        return math.floor(event.score * 20) if by_cuts and event.score is not None else None

    def where(event: CostEvent) -> dict[str, Any]:
        of_cuts = bucket(event) is not None
        return {
            "bucket": bucket(event),
            "complexity": event.complexity if of_cuts else None,
            "tier": event.tier or "direct",
        }

    sums = ("prompt_tokens", "completion_tokens", "cost_usd", "baseline_usd")
    sums += ("p1", "p2", "p3", "p4", "p5")
    return [
        {
            **names,
            "requests": len(of_it),
            **{name: _sum(getattr(e, name) for e in of_it) for name in sums},
            "judged": sum(came[e.decision_id][0] for e in of_it),
            "failed": sum(any(came[e.decision_id][1:]) for e in of_it),
        }
        for names, of_it in _grouped(
            (e for e in seen if e.status == 200 and e.cost_usd is not None), where
        )
    ]


def differences(told: Sequence[Mapping[str, str | None]], due: Rows) -> list[str]:
    """Where rows as Athena tells them are not those due: money and counts to the last digit,
    milliseconds and shares to a billionth.
    """
    if len(told) != len(due):
        return [f"{len(told)} rows, not {len(due)}"]
    names = [n for n in (due[0] if due else ()) if all(_exact(row[n]) for row in due)]
    told_rows = sorted(told, key=lambda row: [_key(row[n]) for n in names])
    due_rows = sorted(due, key=lambda row: [_key(row[n]) for n in names])
    faults = []
    for ours, theirs in zip(told_rows, due_rows, strict=True):
        if unlike := set(ours) ^ set(theirs):
            return [f"columns: {sorted(unlike)}"]
        faults += [
            f"{name}: {ours[name]}, not {value}"
            for name, value in theirs.items()
            if not _same(ours[name], value)
        ]
    return faults


def _exact(value: object) -> bool:
    return value is None or isinstance(value, str | int)


def _key(value: object) -> str:
    return "" if value is None else str(value)


def _same(text: str | None, value: object) -> bool:
    if text is None or value is None:
        return text is value
    if isinstance(value, float):
        return math.isclose(float(text), value, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, int | Decimal):
        return Decimal(text) == value
    return text == value
