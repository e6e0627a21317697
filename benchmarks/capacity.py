"""How far it scales and what it costs, from what was measured and what AWS publishes.

    uv run python -m benchmarks.capacity [--service-ms 20] [--upstream-ms 1500] [--measure] [--json]

Three kinds of number go in, and each says where it comes from:

- counted: the AWS calls of one request, and the sizes of what is written, by running the app once
  over `benchmarks.cloud` and listening (`--measure` does it now; else `COUNTED`, of the last time);
- measured: milliseconds of a request beside its upstream (`--service-ms`; by default what `make
  demo` measured), and of the upstream (`--upstream-ms`; 1,500 is assumed: your ledger has yours);
- published: AWS's quotas and list prices (us-east-1, 2026-11, without the free tier), in `quotas`
  and `PRICES`, with their pages.

Nothing here was run at these rates: it is arithmetic, and says which limit is met first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rig import Answer, bodies, load, rig

RATES = (1, 100, 10_000)
MONTH_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Counted:
    """What one request asks of AWS, on average.

    Args:
        calls: service and operation -> calls.
        writes, reads: DynamoDB's units by table, counted from the items' sizes. A write unit is
            1 kB, a read unit 4 kB, half of one where it need not be consistent.
        event_kb: one ledger record.
    """

    calls: Mapping[str, float]
    writes: Mapping[str, float]
    reads: Mapping[str, float]
    event_kb: float


#: By `--measure`: 60 requests of `rig.bodies`, of a key with a budget and a rate, nothing failing.
COUNTED = Counted(
    calls={
        "dynamodb BatchGetItem": 1.017,
        "dynamodb BatchWriteItem": 1.933,
        "dynamodb GetItem": 0.05,
        "dynamodb PutItem": 1.017,
        "dynamodb UpdateItem": 3.0,
        "firehose PutRecord": 1.0,
    },
    writes={"cache": 3.15, "decisions": 4.967, "sessions": 1.0, "spend": 3.0},
    reads={"cache": 1.808, "circuits": 0.5, "keys": 0.017, "sessions": 0.35},
    event_kb=1.256,
)

PRICES = {
    "lambda_request": 0.20e-6,  # aws.amazon.com/lambda/pricing
    "lambda_gb_s": 0.0000166667,
    "api_request": 3.50e-6,  # aws.amazon.com/api-gateway/pricing, REST, the first 333 million
    "write_unit": 0.625e-6,  # aws.amazon.com/dynamodb/pricing/on-demand
    "read_unit": 0.125e-6,
    "firehose_gb": 0.029,  # aws.amazon.com/firehose/pricing, Direct PUT, the first 500 TB
    "conversion_gb": 0.018,
    "log_gb": 0.50,  # aws.amazon.com/cloudwatch/pricing
    "s3_put": 5e-6,  # a Parquet file each 300 s
}
#: Firehose bills a record as the next 5 kB; a log line is of ADR 11.
RECORD_KB, LOG_KB, MEMORY_GB, BUFFER_S = 5.0, 1.5, 1.0, 300
FIXED_USD_MONTH = 7.10 + 0.40  # metrics and alarms (ADR 11), the secret


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit, what of it a request takes, and what to do.

    Args:
        limit: in a second, or at one time.
        per_request: of the limit, by one request a second.
    """

    what: str
    limit: float
    per_request: float
    raised_by: str

    @property
    def breaks_at(self) -> float:
        """Requests a second."""
        return self.limit / self.per_request if self.per_request else math.inf


def quotas(one: Counted, seconds: float) -> list[Quota]:
    """AWS's default quotas (us-east-1) and the template's own limit, the first to break first.

    Sources: docs.aws.amazon.com/apigateway/latest/developerguide/limits.html,
    /lambda/latest/dg/gettingstarted-limits.html, /firehose/latest/dev/limits.html,
    /amazondynamodb/latest/developerguide/ServiceQuotas.html and /on-demand-capacity-mode.html.

    Args:
        seconds: of one request, the upstream's part too.
    """
    puts, hot = one.calls["firehose PutRecord"], max(one.writes, key=lambda t: one.writes[t])
    found = [
        Quota("API Gateway: this stage", 100, 1, "ThrottlingRateLimit in template.yaml"),
        Quota("API Gateway: account and region", 10_000, 1, "Service Quotas"),
        Quota("Lambda: concurrent executions, account", 1_000, seconds, "Service Quotas"),
        Quota("Firehose: requests of a stream", 2_000, puts, "Service Quotas; S3 takes the rest"),
        Quota("Firehose: MiB of a stream", 5, puts * one.event_kb / 1024, "with the requests"),
        Quota("DynamoDB: one key's spend item", 1_000, 2, "fixed: more keys, or no budget"),
        Quota(
            f"DynamoDB: write units of {hot}, a new table",
            4_000,
            one.writes[hot],
            "warm throughput; it doubles by itself within 30 minutes",
        ),
        Quota(f"DynamoDB: write units of {hot}", 40_000, one.writes[hot], "Service Quotas"),
    ]
    return sorted(found, key=lambda q: q.breaks_at)


def million_usd(one: Counted, seconds: float, rate: float) -> dict[str, float]:
    """What a million requests cost at a steady rate, USD, without the models."""
    writes, reads = sum(one.writes.values()), sum(one.reads.values())
    gb = one.calls["firehose PutRecord"] * RECORD_KB
    costs = {
        "API Gateway": 1e6 * PRICES["api_request"],
        "Lambda": 1e6 * (PRICES["lambda_request"] + seconds * MEMORY_GB * PRICES["lambda_gb_s"]),
        "DynamoDB": 1e6 * (writes * PRICES["write_unit"] + reads * PRICES["read_unit"]),
        "Firehose": gb * (PRICES["firehose_gb"] + PRICES["conversion_gb"]),
        "S3": 1e6 / rate / BUFFER_S * PRICES["s3_put"],
        "Logs": 1e6 * LOG_KB / 1e6 * PRICES["log_gb"],
        "fixed": FIXED_USD_MONTH * 1e6 / (rate * MONTH_S),
    }
    return costs | {"all": sum(costs.values())}


def counted(requests: int = 60) -> Counted:
    """What one request asks, counted now: the endpoint over `benchmarks.cloud`.

    Raises:
        RuntimeError: the endpoint is not up, or refused something; the machine may be too busy.
    """
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as here:
        if not here.start():
            raise RuntimeError("the endpoint did not start")
        here.cloud.units.clear()
        before, answers = Counter(here.cloud.calls), list[Answer]()
        asyncio.run(load(here, bodies(requests, 3), 2, answers))
        here.stop()
        if any(answer.status != 200 for answer in answers):
            raise RuntimeError("not every request was answered")
        calls = {f"{s} {o}": n / requests for (s, o), n in (here.cloud.calls - before).items()}

        def units(kind: str) -> dict[str, float]:
            found = {t: n / requests for (t, k), n in here.cloud.units.items() if k == kind and n}
            return {table: round(n, 3) for table, n in sorted(found.items())}

        kb = sum(map(len, here.cloud.records)) / len(here.cloud.records) / 1000
    rounded = {name: round(n, 3) for name, n in sorted(calls.items())}
    return Counted(rounded, units("write"), units("read"), round(kb, 3))


def told(one: Counted, service_ms: float, upstream_ms: float) -> dict[str, Any]:
    seconds = (service_ms + upstream_ms) / 1000
    costs = {rate: million_usd(one, seconds, rate) for rate in RATES}
    return {
        "counted": asdict(one),
        "service_ms": service_ms,
        "upstream_ms": upstream_ms,
        "rps_by_concurrency": {n: round(n / seconds, 1) for n in (1, 10, 100, 1_000, 10_000)},
        "usd_per_million": {
            rate: {name: round(usd, 2) for name, usd in of.items()} for rate, of in costs.items()
        },
        "breaks_first": [
            {"quota": q.what, "limit": q.limit, "rps": round(q.breaks_at), "raise": q.raised_by}
            for q in quotas(one, seconds)
        ],
    }


def show(found: dict[str, Any]) -> None:
    console, one = Console(width=120), found["counted"]
    cost = Table(title="USD for a million requests, without the models", box=box.SIMPLE)
    cost.add_column("requests/s")
    for name in next(iter(found["usd_per_million"].values())):
        cost.add_column(name, justify="right")
    for rate, costs in found["usd_per_million"].items():
        cost.add_row(f"{rate:,}", *(f"{usd:.2f}" for usd in costs.values()))
    limits = Table(title="Where it breaks first", box=box.SIMPLE)
    for name in ("quota", "limit", "at requests/s", "what to raise"):
        limits.add_column(name)
    for q in found["breaks_first"]:
        limits.add_row(q["quota"], f"{q['limit']:,}", f"{q['rps']:,}", q["raise"])
    console.print(
        f"A request: {found['service_ms']:g} ms of ours and {found['upstream_ms']:g} ms of the "
        f"upstream's; {sum(one['writes'].values()):.1f} write and {sum(one['reads'].values()):.1f} "
        f"read units of DynamoDB's, {sum(one['calls'].values()):.1f} calls."
    )
    console.print("Requests/s by concurrency:", found["rps_by_concurrency"])
    console.print(cost)
    console.print(limits)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--service-ms", type=float, default=6.1, help="ours; the demo's median")
    parser.add_argument("--upstream-ms", type=float, default=1_500, help="a model's; assumed")
    parser.add_argument("--measure", action="store_true", help="count the calls of a request now")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    one = counted() if args.measure else COUNTED
    found = told(one, args.service_ms, args.upstream_ms)
    if args.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
