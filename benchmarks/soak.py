"""50,000 requests while everything fails now and then: no event lost, no bill wrong, memory flat.

    uv run python -m benchmarks.soak [--requests 50000] [--connections 16] [--json]

The endpoint in a process of its own, over AWS and two aggregators of this one. At any time a part
of AWS may be ill (slow, throttling, down, cut off after the work is done) for a share of its calls,
and aggregators fail (500, 429, HTML, cut streams). Illnesses change as requests go on, by seed, not
by the clock. What must hold at the end: every answer has its event, its cost is what the caller was
told, the sum is the aggregators' invoices, but for streams that were cut, which the ledger can only
estimate. Memory is told at the start (after warming up), in the middle and at the end; `flat` is
within 15 % from the middle to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cloud import ILLNESSES, Service
from benchmarks.rig import Answer, Rig, bodies, load, rig
from local.simulation import Failure, Mode

SEED, EVERY, WARM_UP = 20261126, 200, 0.1
PARTS: tuple[Service, ...] = ("dynamodb", "firehose", "s3")
UPSTREAM: tuple[Mode, ...] = ("refuse_500", "429", "html_502", "error_in_200", "invalid_json")
FLAT = 1.15


def troubled(here: Rig, requests: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The requests; every so many, other things are ill."""
    chance = random.Random(SEED)
    for number, body in enumerate(requests):
        if number % EVERY == 0:
            here.cloud.ill = {
                part: (chance.choice(ILLNESSES), chance.choice((0.02, 0.2)))
                for part in PARTS
                if chance.random() < 0.3
            }
            for simulation in here.aggregators.values():
                if chance.random() < 0.3:
                    mode = chance.choice(UPSTREAM)
                    simulation.failures.append(Failure(mode, times=chance.randint(1, 4)))
        yield body


def soak(here: Rig, count: int, connections: int) -> dict[str, Any]:
    """All requests -> what came of them."""
    assert here.start()
    answers: list[Answer] = []
    memory: list[float] = []
    begun = time.monotonic()
    requests = troubled(here, bodies(count, SEED))

    async def drive() -> None:
        loading = asyncio.create_task(load(here, requests, connections, answers))
        marks = [WARM_UP, 0.5, 1.0]
        while marks:
            if len(answers) >= marks[0] * count or loading.done():
                marks.pop(0)
                memory.append(here.rss_mb())
                print(f"{len(answers)} requests, {memory[-1]:.0f} MB", flush=True)
            await asyncio.sleep(0.2)
        await loading

    asyncio.run(drive())
    seconds = time.monotonic() - begun
    here.cloud.ill = {}
    time.sleep(1)  # what was slow is still on its way
    here.stop()
    books = here.books(answers)
    start, middle, end = memory
    return {
        "requests": len(answers),
        "answered": books.statuses[200],
        "statuses": dict(books.statuses),
        "events": books.events,
        "lost_events": books.lost,
        "wrong_bills": books.wrong,
        "ledger_usd": f"{books.ledger_usd:f}",
        "invoice_usd": f"{books.invoice_usd:f}",
        "estimated_usd": f"{books.estimated_usd:f}",
        "cut_usd": f"{books.cut_usd:f}",
        "bill_is_invoice": books.ledger_usd - books.estimated_usd
        == books.invoice_usd - books.cut_usd,
        "events_in": dict(books.places),
        "rss_start_mb": round(start),
        "rss_middle_mb": round(middle),
        "rss_end_mb": round(end),
        "memory_flat": end <= FLAT * middle,
        "p50_ms": round(median(a.ms for a in answers)),
        "seconds": round(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as here:
        told = soak(here, args.requests, args.connections)
    shown = Table(title="Soak", show_header=False)
    for name, value in told.items():
        shown.add_row(name, str(value))
    Console().print(shown)
    if args.json:
        print(json.dumps(told))
    sound = not told["lost_events"] and not told["wrong_bills"] and told["bill_is_invoice"]
    raise SystemExit(not (sound and told["memory_flat"]))


if __name__ == "__main__":
    main()
