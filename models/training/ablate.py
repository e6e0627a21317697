"""What each choice of the encoder is worth: the same run with one thing changed at a time.

    python -m models.training.ablate --table models/training/runs/table.jsonl.gz

The encoders are those that arms.py left in RUNS/arms. Heads are fitted to four folds of a sample
of the table and tested on the fifth. Arms already in the output file are not measured again.
Columns of ablation.json, an object an arm:

- loss: 1 - cosine to its teachers over the last 50 steps, none of an arm that had no teacher
- outcomes: mean AUC of "the weak model fails, the strong one succeeds" over sources and pairs
- sensitive: AUC over the rows of the fifth fold; look_alikes: over our own prompts among them
- ms_64, ms_512: median of one inference, int8, one thread; mb: of the whole model file
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer

from models.training import complexity, distil, export, heads, metrics, stored
from models.training.arms import ARMS, CONFIG, Arm, encoder_of
from models.training.fit import HERE, recipes
from models.training.labels import PAIRS
from models.training.model import Encoder
from models.training.table import Rows, folds, numbers, own, read

ROWS = 16_000


def measured(arm: Arm, rows: Rows, runs: Path) -> dict[str, Any]:
    """One arm -> its numbers."""
    encoder, curve = encoder_of(arm, runs), runs / "arms" / arm.encoder / "loss.csv"
    ids = tokens_of([row["text"] for row in rows], arm.tokens)
    seen = heads.features_of(states(encoder, ids), ids)
    return {
        "loss": float(curve.read_text().split(",")[-1]) if arm.teachers else None,
        **tested(rows, seen),
        **speed(encoder),
    }


def tokens_of(texts: list[str], limit: int) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(distil.TOKENIZER))
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    half = limit // 2
    return [e.ids if len(e.ids) <= limit else e.ids[:half] + e.ids[-half:] for e in encodings]


def states(encoder: Encoder, ids: list[list[int]]) -> np.ndarray:
    """(N, C) fp32 states, in batches of like length."""
    out = np.zeros((len(ids), encoder.shape.dim), np.float32)
    with torch.no_grad():
        for batch in distil.batches([len(row) for row in ids], 4_096, random.Random(0)):
            out[batch] = encoder(*distil.padded([ids[i] for i in batch])).numpy()
    return out


def tested(rows: Rows, seen: heads.Features) -> dict[str, float]:
    """Heads fitted to four folds, and what they say of the fifth."""
    how, fifth = recipes(rows, seen), folds(rows) == 0
    fitted = {
        name: how[name].fit(how[name].known & ~fifth).logits(seen[fifth])
        for name in ("complexity", "sensitivity")
    }
    scores = complexity.score(complexity.probabilities(fitted["complexity"]))
    tests = [row for row, is_test in zip(rows, fifth, strict=True) if is_test]
    areas = []
    for source in PAIRS:
        places = [i for i, row in enumerate(tests) if source in (row["pairs"] or {})]
        told = np.array([tests[i]["pairs"][source] for i in places], float).T
        areas.append(metrics.mean_auc(scores[places], list(told)))
    sensitive, said = numbers(tests, "sensitive"), fitted["sensitivity"][:, 0]
    known = ~np.isnan(sensitive)
    ours = known & own(tests)
    return {
        "outcomes": round(float(np.nanmean(areas)), 4),
        "sensitive": round(float(roc_auc_score(sensitive[known], said[known])), 4),
        "look_alikes": round(float(roc_auc_score(sensitive[ours], said[ours])), 4),
    }


def speed(encoder: Encoder) -> dict[str, float]:
    """The encoder with empty heads, exported as it would ship: milliseconds and megabytes."""
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch) / "fp32.onnx", Path(scratch) / "int8.onnx"
        empty = stored.read(Path(scratch), encoder.shape.dim)
        export.to_fp32(export.Served(encoder, empty).eval(), fp32)
        export.to_int8(fp32, int8)
        session, size = export.session(int8), int8.stat().st_size
    found = {"mb": round(size / 1e6, 1)}
    for length in (64, 512):
        ids = np.random.default_rng(1).integers(3, 32_000, (1, length))
        feed, times = {"ids": ids, "mask": np.ones_like(ids)}, []
        for _ in range(25):
            begun = time.perf_counter()
            session.run(["complexity", "sensitivity"], feed)
            times.append((time.perf_counter() - begun) * 1e3)
        found[f"ms_{length}"] = round(median(times[5:]), 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint" / "ablation.json")
    args = parser.parse_args()
    every = [row for row in read(args.table) if row["shippable"]]
    rows = random.Random(CONFIG.seed).sample(every, ROWS)
    found = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    for name, arm in ARMS.items():
        if name not in found:
            found[name] = measured(arm, rows, args.runs)
            args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {found[name]}", flush=True)


if __name__ == "__main__":
    main()
