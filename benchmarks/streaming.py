"""How much later a stream's chunks leave Fareway than they came.

    uv run python -m benchmarks.streaming [--json]

One upstream that stamps each chunk as it sends it; the same client reads from it and, in turn,
through Fareway (the classifier on, each prompt a new one). A figure is milliseconds from the stamp
to the client's read; `--json` prints one object as its last line:

    {"fareway": {"first_p50_ms", "first_p99_ms", "chunk_p50_ms", "chunk_p99_ms"}, "upstream": {...},
     "added_first_p50_ms"}
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.table import Table

from benchmarks.gateways import Gateway, fareway, free_port, started
from benchmarks.load import Target
from benchmarks.upstream import MODEL

STREAMS = 120
STAMP = re.compile(rb'"content": ?"([0-9]+)')


def delays(target: Target, streams: int) -> list[list[float]]:
    """Of each stream the milliseconds from a chunk's stamp to its being read, in order."""
    found, requests = [], target.requests(stream=True)
    with socket.create_connection(("127.0.0.1", target.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(streams):
            connection.sendall(next(requests))
            received, seen = b"", list[float]()
            while not received.endswith(b"0\r\n\r\n"):
                data = connection.recv(65536)
                now = time.monotonic_ns()
                if not data:
                    raise RuntimeError(received.decode(errors="replace"))
                received += data
                seen += [(now - int(stamp)) / 1e6 for stamp in STAMP.findall(data)]
            found.append(seen)
    return found


def figures(found: list[list[float]]) -> dict[str, float]:
    first, every = [stream[0] for stream in found], [ms for stream in found for ms in stream]
    return {
        f"{name}_{percentile}_ms": round(value, 3)
        for name, values in (("first", first), ("chunk", every))
        for percentile, value in (("p50", median(values)), ("p99", quantiles(values, n=100)[98]))
    }


def paced() -> Gateway:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.paced", str(port)]
    return Gateway("paced", command, {"upstream": Target(port, MODEL)})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        mock = paced()
        targets = {**started(mock, Path(folder), ending)}
        base_url = f"http://127.0.0.1:{targets['upstream'].port}/v1"
        targets["fareway"] = started(fareway(base_url), Path(folder), ending)["fareway"]
        found: dict[str, list[list[float]]] = {name: [] for name in targets}
        for _ in range(4):  # in turns, so that what else the machine does meets both
            for name, target in targets.items():
                found[name] += delays(target, STREAMS // 4)
    told = {name: figures(streams) for name, streams in found.items()}
    added = round(told["fareway"]["first_p50_ms"] - told["upstream"]["first_p50_ms"], 3)
    if args.json:
        print(json.dumps(told | {"added_first_p50_ms": added}))
        return
    table = Table(
        "", *told["upstream"], title=f"From a chunk's sending to its being read, {STREAMS} streams"
    )
    for name, row in told.items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
