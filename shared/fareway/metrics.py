"""What became of a request -> its one log line, which CloudWatch also reads as metrics.

The line is in the Embedded Metric Format (EMF). Source: docs.aws.amazon.com/AmazonCloudWatch/
latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.

Each metric under each dimension's value is paid for: 17 by stage, and `Requests` by 4 tiers, are
21 (docs/adr/0011). All else is in the ledger. Counts are told when they are 0 too, so that a
metric's Sum is a number and its Average a share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fareway.cost import CostEvent
from fareway.trace import Trace

NAMESPACE = "Fareway"
#: Metric -> CloudWatch's unit.
UNITS: dict[str, str] = {
    "Requests": "Count",
    "Failures5xx": "Count",  # answered 5xx, whoever's fault; a crash too
    "Rejected4xx": "Count",
    # Of requests that reached the ledger:
    "CostUSD": "None",
    "SavingUSD": "None",  # against the baseline; may be negative
    "CacheHits": "Count",
    "Failovers": "Count",  # candidates passed over
    "BreakerOpens": "Count",
    "LedgerFallbacks": "Count",  # events that Firehose did not take
    "Unpriced": "Count",  # answered, at a cost that is not known
    "Unclassified": "Count",
    "MemoryFailures": "Count",  # reads and writes of memory that a table did not take
    "Escalations": "Count",  # that a complaint before them, or a correction, sent higher
    "ClassifierMs": "Milliseconds",
    "UpstreamMs": "Milliseconds",
    "OverheadMs": "Milliseconds",
    "TotalMs": "Milliseconds",
}


@dataclass(slots=True)
class Facts:
    """What a request's line tells, noted as it becomes known.

    Args:
        event: its cost event; None where it was refused or asked for none.
        ledger: where the ledger put that event: `firehose`, `s3` or `log`.
        breaker_opens: circuits that this request's failures opened.
        forgot: reads and writes of memory that failed.
        error: the class of the error that the caller was told of; never its text.
    """

    event: CostEvent | None = None
    ledger: str | None = None
    breaker_opens: int = 0
    forgot: int = 0
    error: str | None = None


def request_line(
    stage: str,
    trace: Trace,
    facts: Facts,
    *,
    path: str,
    status: int,
    total_ms: float,
    ended_at: float,
) -> dict[str, Any]:
    """One request as an EMF document.

    Args:
        path: the route's own path, not what the caller wrote.
        status: what the caller got.
        total_ms: from the first byte in to the last byte out and the event recorded.
        ended_at: seconds since the epoch.
    """
    event = facts.event
    metrics: dict[str, float] = {
        "Requests": 1,
        "Failures5xx": int(status >= 500),
        "Rejected4xx": int(400 <= status < 500),
    }
    told: dict[str, Any] = {}
    if event is not None:
        metrics |= _of_event(event, facts, total_ms)
        told = {
            "decision_id": event.decision_id,
            "key_id": event.key_id,
            "Tier": event.tier or event.lane,  # passed through: `direct`
            "lane": event.lane,
            "model": event.served_model,
            "aggregator": event.aggregator,
            "attempts": event.attempts,
            "ledger": facts.ledger,
        }
    directives = [_directive(["Stage"], metrics)]
    if event is not None:
        directives.append(_directive(["Stage", "Tier"], {"Requests": 1}))
    return {
        "time": round(ended_at, 3),
        "level": "info",
        "message": "request",
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "path": path,
        "status": status,
        "ms": round(total_ms, 3),
        "error": facts.error,
        **told,
        "Stage": stage,
        **metrics,
        "_aws": {"Timestamp": int(ended_at * 1000), "CloudWatchMetrics": directives},
    }


def _of_event(event: CostEvent, facts: Facts, total_ms: float) -> dict[str, float]:
    """The metrics of a request in the ledger; what is not known of it, or had no part, is left out.

    Money turns into a float here and nowhere before: EMF has no decimals.
    """
    answered, routed = event.status < 400, event.lane != "direct"
    metrics: dict[str, float | None] = {
        "CostUSD": None if event.cost_usd is None else float(event.cost_usd),
        "SavingUSD": None if event.saving_usd is None else float(event.saving_usd),
        "CacheHits": int(event.cache_hit != "none") if routed else None,
        "Failovers": event.failovers,
        "BreakerOpens": facts.breaker_opens,
        "LedgerFallbacks": int(facts.ledger != "firehose"),
        "Unpriced": int(answered and event.cost_usd is None),
        "Unclassified": int(event.p1 is None) if routed else None,
        "MemoryFailures": facts.forgot,
        "Escalations": int(event.escalated) if routed else None,
        "ClassifierMs": event.classifier_ms or None,  # 0: the cache knew
        "UpstreamMs": event.upstream_ms if event.attempts else None,
        # Tries after the first come with waits for the upstream's sake.
        "OverheadMs": max(0.0, total_ms - event.upstream_ms) if event.attempts == 1 else None,
        "TotalMs": total_ms,
    }
    return {name: round(value, 9) for name, value in metrics.items() if value is not None}


def _directive(dimensions: list[str], metrics: dict[str, float]) -> dict[str, Any]:
    return {
        "Namespace": NAMESPACE,
        "Dimensions": [dimensions],
        "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in metrics],
    }
