"""What Fareway adds to a call: `python -m benchmarks.request [--json]`.

The same simulated upstream, with no latency of its own, asked directly and through the
app in turn, over HTTP on this machine. Also how many prompts a second the classifier scores.
The last line with `--json` is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from fareway.app import create_app
from fareway.classify import Classifier
from fareway.settings import Settings
from fareway.wiring import build
from local.aggregator import create_app as create_simulator
from local.serving import serve

REQUESTS = 300
PROMPT = "My order has not arrived yet and the tracking page does not change. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    # Without a stream, the log is the ledger.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        figures = added_latency() | throughput()
    for name, value in figures.items():
        print(f"{name:<28}{value:>10}")
    if args.json:
        print(json.dumps(figures))


def added_latency() -> dict[str, float]:
    """Median and 99th percentile of a call, milliseconds, one connection; new prompts each time."""
    with serve(create_simulator("tokenmix", 0)) as upstream:
        settings = Settings(
            api_key="fw-bench",
            upstream_keys={"tokenmix": "k"},
            base_urls={"tokenmix": f"{upstream}/v1"},
        )
        with serve(create_app(build(settings))) as gateway, httpx.Client() as client:
            ask_upstream = asker(client, f"{upstream}/v1", "k", "deepseek-v4-flash")
            ask_fareway = asker(client, f"{gateway}/v1", "fw-bench", "fareway/auto")
            alone, through = [], []
            for number in range(-20, REQUESTS):  # the first are to warm up
                times = ask_upstream(number), ask_fareway(number)
                if number >= 0:
                    alone.append(times[0])
                    through.append(times[1])
    added = [b - a for a, b in zip(alone, through, strict=True)]
    return {
        "upstream_alone_p50_ms": round(statistics.median(alone), 2),
        "through_fareway_p50_ms": round(statistics.median(through), 2),
        "added_p50_ms": round(statistics.median(added), 2),
        "added_p99_ms": round(statistics.quantiles(added, n=100)[98], 2),
    }


def asker(client: httpx.Client, base_url: str, key: str, model: str) -> Callable[[int], float]:
    def ask(number: int) -> float:
        body = {"model": model, "messages": [{"role": "user", "content": f"{PROMPT}{number}"}]}
        begun = time.perf_counter()
        headers = {"authorization": f"Bearer {key}"}
        client.post(f"{base_url}/chat/completions", json=body, headers=headers).raise_for_status()
        return (time.perf_counter() - begun) * 1000

    return ask


def throughput() -> dict[str, float]:
    """Prompts of about 60 tokens: one by one, and 2,000 at once; and how long loading takes."""
    folder = Settings.from_env().classifier_dir
    begun = time.perf_counter()
    classifier = Classifier.load(folder)
    loaded = time.perf_counter()
    texts = [f"{PROMPT * 3}Order number {number}, please help." for number in range(2_000)]
    singles = []
    for text in texts[:300]:
        start = time.perf_counter()
        classifier.score(text)
        singles.append((time.perf_counter() - start) * 1000)
    start = time.perf_counter()
    classifier.score_many(texts, workers=os.cpu_count() or 1)
    batch_s = time.perf_counter() - start
    return {
        "classifier_load_ms": round((loaded - begun) * 1000, 1),
        "classify_one_p50_ms": round(statistics.median(singles), 2),
        "classify_prompts_per_s": round(len(texts) / batch_s),
    }


if __name__ == "__main__":
    main()
