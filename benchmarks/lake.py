"""Every query of `fareway/sql` over synthetic traffic, against answers worked out without SQL.

    uv run python -m benchmarks.lake --json [--events 100000] [--seed 20261126] [--out FOLDER]

The traffic (benchmarks.traffic) has sessions, failovers, streams, complaints, events that arrive
twice and events that arrive late. The engine is DuckDB, which the local cloud's Athena is
underneath. With `--out` the lake is also written as it lies in the ledger's bucket: events/dt=.../
as Parquet, opinions under feedback/dt=.../. The last line of `--json` is one object:

    {"events": 100000, "arrived": ..., "right": 18, "queries": 18, "slowest_ms": ..., ...}
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.answers import answers, differences
from benchmarks.traffic import Generator, Traffic
from fareway.athena import load_query
from fareway.lake import json_lines
from local.lake import Lake

SEED = 20261126
FIRST, DAYS = date(2026, 10, 28), 35
#: What is asked about: a month, with traffic before it and after it.
MONTH = (date(2026, 11, 1), date(2026, 11, 26))


def filled(traffic: Traffic) -> Lake:
    """A lake that holds the traffic as it arrived, and its days summed up."""
    lake = Lake()
    lake.add("cost_events", (arrival.record() for arrival in traffic.arrivals))
    lake.add_opinions(traffic.opinions)
    lake.sum_up(FIRST, FIRST + timedelta(days=DAYS))
    return lake


def checked(traffic: Traffic, lake: Lake) -> dict[str, tuple[int, float, list[str]]]:
    """Query -> its rows, milliseconds, and where it is not right."""
    told: dict[str, tuple[int, float, list[str]]] = {}
    for name, due in answers(traffic, *MONTH).items():
        begun = time.monotonic()
        rows = lake.run(load_query(name, *MONTH))
        told[name] = (len(rows), (time.monotonic() - begun) * 1000, differences(rows, due))
    return told


def write(traffic: Traffic, lake: Lake, folder: Path) -> None:
    """The lake as files, with the keys that they have in the ledger's bucket."""
    for day in sorted({arrival.day.isoformat() for arrival in traffic.arrivals}):
        where = folder / "events" / f"dt={day}"
        where.mkdir(parents=True, exist_ok=True)
        lake.write_parquet("cost_events", day, str(where / "events.parquet"))
    for opinion in traffic.opinions:
        file = folder / opinion.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(json_lines([opinion]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Every query against answers made without SQL.")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="write the lake's files there")
    options = parser.parse_args()
    traffic = Generator(options.seed, FIRST, DAYS).traffic(options.events)
    lake = filled(traffic)
    told = checked(traffic, lake)
    if options.out:
        write(traffic, lake, options.out)
    _print(told)
    if options.json:
        print(json.dumps(_figures(traffic, told)))
    return 0 if all(not faults for *_, faults in told.values()) else 1


def _figures(traffic: Traffic, told: Mapping[str, tuple[int, float, list[str]]]) -> dict[str, Any]:
    slowest = max(told, key=lambda name: told[name][1])
    return {
        "events": len(traffic.events),
        "arrived": len(traffic.arrivals),
        "opinions": len(traffic.opinions),
        "queries": len(told),
        "right": sum(not faults for *_, faults in told.values()),
        "slowest": slowest,
        "slowest_ms": round(told[slowest][1]),
    }


def _print(told: Mapping[str, tuple[int, float, list[str]]]) -> None:
    table = Table(title="Queries over the synthetic lake")
    for heading in ("query", "rows", "ms", "answer"):
        table.add_column(heading, justify="left" if heading in ("query", "answer") else "right")
    for name, (rows, ms, faults) in told.items():
        table.add_row(name, str(rows), f"{ms:.0f}", "; ".join(faults[:3]) or "right")
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
