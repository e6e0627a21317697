"""What a gateway adds to a call: Fareway beside LiteLLM's proxy and Portkey's gateway.

    uv run python -m benchmarks.overhead --json [--quick]

The same mock upstream, the same machine, the same run: each system is asked in turn, round after
round, first over one connection and then over eight, every request a new prompt of 60 tokens, so
that no cache answers. A figure is the median of the rounds. The last line of `--json` is one
object:

    {"fareway": {"c1_p50_ms", "c1_p99_ms", "c8_p50_ms", "c8_p99_ms", "rps8"}, "fareway_pinned": ...,
     "litellm": ..., "portkey": ..., "upstream": ...}

`upstream` is the mock alone, its own latencies. A gateway's are what it adds: its percentile less
the upstream's same percentile. `rps8` is requests a second over eight connections. `fareway`
classifies each prompt; `fareway_pinned` is asked for an upstream's own model. A gateway that
cannot be installed is null.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.gateways import LITELLM, PORTKEY, running
from benchmarks.load import Target, latencies

CONNECTIONS = (1, 8)
Figures = dict[str, float]
TITLES = {
    "fareway": "Fareway, classifying",
    "fareway_pinned": "Fareway, passing on",
    "litellm": f"LiteLLM {LITELLM}",
    "portkey": f"Portkey {PORTKEY}",
    "upstream": "upstream alone",
}


def measured(
    targets: dict[str, Target], rounds: int, seconds: float, warm_up_s: float
) -> dict[str, Figures]:
    """System -> its own figures, the upstream's not taken off; medians of the rounds."""
    for target in targets.values():
        latencies(target, max(CONNECTIONS), warm_up_s)
    taken: dict[str, list[Figures]] = {name: [] for name in targets}
    for number in range(1, rounds + 1):
        print(f"round {number} of {rounds}", file=sys.stderr)
        # Each round begins with another system, so that none always follows the same one.
        names = list(targets)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            figures: Figures = {}
            for connections in CONNECTIONS:
                found, per_second = latencies(targets[name], connections, seconds)
                figures[f"c{connections}_p50_ms"] = median(found)
                figures[f"c{connections}_p99_ms"] = quantiles(found, n=100)[98]
            taken[name].append(figures | {"rps8": per_second})
    return {
        name: {what: median(f[what] for f in figures) for what in figures[0]}
        for name, figures in taken.items()
    }


def less_upstream(found: dict[str, Figures]) -> dict[str, Figures]:
    """Of each gateway what it adds; the upstream stays as it is."""
    alone = found["upstream"]
    return {
        name: {
            what: round(value, 1)
            if what == "rps8"
            else round(value if name == "upstream" else value - alone[what], 3)
            for what, value in figures.items()
        }
        for name, figures in found.items()
    }


def table(figures: dict[str, Figures | None]) -> Table:
    title = f"Added to a call, milliseconds; {os.cpu_count()} cores, one worker each"
    shown = Table(
        title=title, caption="c1, c8: connections; x: LiteLLM's is 1", box=box.SIMPLE, padding=0
    )
    shown.add_column("", no_wrap=True)
    for column in ("c1 p50", "c1 p99", "c8 p50", "c8 p99", "rps8", "p50 x", "rps8 x"):
        shown.add_column(column, justify="right", no_wrap=True)
    peer = figures["litellm"]
    for name, title in TITLES.items():
        own = figures[name]
        if own is None:
            shown.add_row(title, "missing")
            continue
        latency = [f"{value:.2f}" for what, value in own.items() if what != "rps8"]
        beside = []
        if peer and name != "upstream":
            beside = [f"{own[what] / peer[what]:.2f}" for what in ("c1_p50_ms", "rps8")]
        shown.add_row(title, *latency, f"{own['rps8']:.0f}", *beside)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    args = parser.parse_args()
    rounds, seconds, warm_up_s = (2, 1.0, 1.0) if args.quick else (15, 1.0, 3.0)
    for number in (signal.SIGINT, signal.SIGTERM):  # what was started is ended on either
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as targets:
        there = {name: target for name, target in targets.items() if target}
        found = less_upstream(measured(there, rounds, seconds, warm_up_s))
    figures = {name: found.get(name) for name in TITLES}
    if args.json:
        print(f"{os.cpu_count()} cores, one worker each", file=sys.stderr)
        print(json.dumps(figures))
    else:
        Console().print(table(figures))


if __name__ == "__main__":
    main()
