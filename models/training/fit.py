"""The table and an exported encoder -> calibrated heads, and cut points for the policy.

    python -m models.training.fit --table models/training/runs/table.jsonl.gz

The states are those of the int8 encoder in models/classifier, prompt by prompt as they are
served, so that the heads are fitted to what they will see. Every head is first fitted five times
with a fold of groups left out; on those held-out logits a temperature is chosen (Guo et al. 2017,
arXiv:1706.04599), for a yes or no a shift too (Platt 1999), and the cut points of policy.toml:
each the one that puts most of our own prompts on their side of it. Then once more on all rows.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize

from fareway.classify import Classifier
from models.training import heads
from models.training.heads import Features, Floats, Head, Integers
from models.training.labels import KINDS, TASKS
from models.training.prepare import FOLDS

HERE = Path(__file__).parent
CLASSIFIER = HERE.parent / "classifier"
CHECKPOINT = HERE / "checkpoint"
WIDTHS = {"complexity": 5, "sensitivity": 1, "kinds": len(KINDS), "task": len(TASKS)}
CLASSES = {"kinds": ("sensitive_kind", KINDS), "task": ("task", TASKS)}
#: Rows of a source that count in full; of more, the whole source counts as the root of the ratio.
FULL_ROWS = 1_500
OWN_WEIGHT = 1.5  # of prompts written for Fareway

Rows = list[dict[str, Any]]
Fit = Callable[[np.ndarray[Any, Any]], Head]


def read(table: Path) -> Rows:
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def numbers(rows: Rows, name: str) -> Floats:
    """(N,) of a column; null is nan."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float32)


def places(rows: Rows, name: str, order: tuple[str, ...]) -> Floats:
    """(N,) of a column of names: their places in `order`; null is nan."""
    return np.array([order.index(row[name]) if row[name] else np.nan for row in rows], np.float32)


def weights(rows: Rows) -> Floats:
    """(N,) so that no source is the classifier's whole world."""
    names = [row["source"] for row in rows]
    counts = {name: names.count(name) for name in set(names)}
    own = ("written", "template")
    return np.array(
        [
            min(1.0, (FULL_ROWS / counts[name]) ** 0.5)
            * (OWN_WEIGHT if name.startswith(own) else 1)
            for name in names
        ],
        np.float32,
    )


def features(folder: Path, rows: Rows, cache: Path | None) -> Features:
    """What the heads see of each row by a classifier's encoder; kept in a file of `cache`."""
    classifier, texts = Classifier.load(folder), [row["text"] for row in rows]
    encoder = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["encoder"]
    key = hashlib.sha256("\0".join([encoder, *texts]).encode()).hexdigest()[:16]
    path = cache / f"states-{key}.npy" if cache else None
    ids = classifier.tokens(texts)
    if path is not None and path.exists():
        states = np.load(path).astype(np.float32)
    else:
        states = classifier.states(ids, workers=os.cpu_count() or 1)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, states.astype(np.float16))
    return heads.features_of(states, ids)


def fitters(rows: Rows, seen: Features) -> dict[str, tuple[Floats, Fit]]:
    """Of each head: (N,) targets, nan where not known, and how it is fitted to some of the rows."""
    weight = weights(rows)
    levels, gains = numbers(rows, "complexity"), numbers(rows, "need_strong")
    sources = np.array([row["source"] for row in rows])

    def complexity(part: np.ndarray[Any, Any]) -> Head:
        return heads.fit_complexity(
            seen[part], levels[part], gains[part], sources[part], weight[part]
        )

    def classes(targets: Floats, count: int) -> Fit:
        def fit(part: np.ndarray[Any, Any]) -> Head:
            return heads.fit_classes(seen[part], targets[part].astype(int), count, weight[part])

        return fit

    def yes_no(targets: Floats) -> Fit:
        return lambda part: heads.fit_yes_no(seen[part], targets[part], weight[part])

    sensitive, dissatisfied = numbers(rows, "sensitive"), numbers(rows, "dissatisfied")
    kinds, tasks = (places(rows, *CLASSES[name]) for name in ("kinds", "task"))
    return {
        "complexity": (np.where(np.isnan(levels), gains, levels), complexity),
        "sensitivity": (sensitive, yes_no(sensitive)),
        "kinds": (kinds, classes(kinds, len(KINDS))),
        "task": (tasks, classes(tasks, len(TASKS))),
        "dissatisfaction": (dissatisfied, yes_no(dissatisfied)),
    }


def held_out(rows: Rows, seen: Features, known: np.ndarray[Any, Any], fit: Fit) -> Floats:
    """(N, K) logits of each row by a head that saw no row of its group; nan where not known."""
    fold = np.array([row["fold"] for row in rows])
    may = known & np.array([row["shippable"] for row in rows])
    out: Floats | None = None
    for held in range(FOLDS):
        head = fit(np.flatnonzero(may & (fold != held)))
        if out is None:
            out = np.full((len(rows), len(head.bias)), np.nan, np.float32)
        out[fold == held] = head.logits(seen[fold == held])
    assert out is not None
    return out


def temperature(logits: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """(N, K) held-out logits -> the factor and, of a yes or no, the shift that are likeliest.

    Args:
        target: (N, K) probabilities; of a yes or no (N, 1).
    """

    def loss(found: np.ndarray[Any, Any]) -> float:
        said = logits * np.exp(found[0])
        if target.shape[1] == 1:
            said = said + found[1]
            wrong = np.logaddexp(0, said) - target * said
        else:
            wrong = -target * np.log(heads.softmax(said) + 1e-9)
        return float((weight[:, None] * wrong).sum() / weight.sum())

    found = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(found[0])), float(found[1]) if target.shape[1] == 1 else 0.0


def goal_of(rows: Rows, name: str) -> tuple[Integers, Floats]:
    """The rows that tell what a head should say, and (N, K) what it is."""
    may = np.array([row["shippable"] for row in rows])
    column = {"sensitivity": "sensitive", "dissatisfaction": "dissatisfied"}.get(name, name)
    if name in ("kinds", "task"):
        target = places(rows, *CLASSES[name])
        told = np.flatnonzero(may & ~np.isnan(target))
        return told, np.eye(len(CLASSES[name][1]), dtype=np.float32)[target[told].astype(int)]
    target = numbers(rows, column)
    told = np.flatnonzero(may & ~np.isnan(target))
    goal = heads.spread(target[told]) if name == "complexity" else target[told][:, None]
    return told, goal


def scaling(rows: Rows, name: str, logits: Floats) -> tuple[float, float]:
    """(N, K) held-out logits of all rows -> the head's factor and shift."""
    told, goal = goal_of(rows, name)
    return temperature(logits[told], goal, weights(rows)[told])


def calibrate(rows: Rows, name: str, logits: Floats) -> Floats:
    factor, shift = scaling(rows, name, logits)
    return logits * factor + shift


def calibrated(head: Head, factor: float, shift: float) -> Head:
    return Head(head.over_state * factor, head.over_grams * factor, head.bias * factor + shift)


def cut_points(scores: Floats, levels: Floats) -> list[float]:
    """(N,) scores and (N,) complexities -> four ascending cuts."""
    grid = np.arange(1.2, 4.8, 0.05)

    def right(cut: float, most: int) -> float:
        return float(((scores < cut) == (levels < most + 0.5)).mean())

    return [round(float(max(grid, key=lambda c: right(c, most))), 2) for most in (1, 2, 3, 4)]


def read_heads(checkpoint: Path, dim: int) -> dict[str, Head]:
    """heads.safetensors, or heads of zeros where nothing has been fitted yet."""
    path = checkpoint / "heads.safetensors"
    grams = heads.PIECES + heads.PAIRS
    if path.exists():
        stored = {name: part.astype(np.float32) for name, part in load_file(path).items()}
    else:
        stored = {}
        for name in heads.HEADS:
            width = WIDTHS.get(name, 1)
            stored[f"{name}.over_state"] = np.zeros((dim + 2, width), np.float32)
            stored[f"{name}.over_grams"] = np.zeros((grams, width), np.float32)
            stored[f"{name}.bias"] = np.zeros(width, np.float32)
    parts = ("over_state", "over_grams", "bias")
    return {name: Head(*(stored[f"{name}.{part}"] for part in parts)) for name in heads.HEADS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--cache", type=Path, default=HERE / "runs")
    args = parser.parse_args()
    rows = read(args.table)
    seen = features(args.classifier, rows, args.cache)
    may = np.array([row["shippable"] for row in rows])
    stored: dict[str, np.ndarray[Any, Any]] = {}
    said: dict[str, Any] = {}
    for name, (target, fit) in fitters(rows, seen).items():
        known = ~np.isnan(target)
        logits = held_out(rows, seen, known, fit)
        factor, shift = scaling(rows, name, logits)
        said[name] = {"factor": round(factor, 4), "shift": round(shift, 4)}
        if name == "complexity":
            own = np.array([row["source"].startswith("written") for row in rows]) & known
            scores = heads.score(heads.softmax(logits[own] * factor))
            said[name]["cuts"] = cut_points(scores, numbers(rows, name)[own])
        head = calibrated(fit(np.flatnonzero(known & may)), factor, shift)
        for part in ("over_state", "over_grams", "bias"):
            stored[f"{name}.{part}"] = getattr(head, part).astype(np.float16)
        print(f"{name}: {said[name]}", flush=True)
    save_file(stored, args.checkpoint / "heads.safetensors")
    (args.checkpoint / "heads.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
