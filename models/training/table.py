"""The training table -> columns of numbers, weights and domains."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from models.training.heads import Floats, Integers
from models.training.labels import KINDS, TASKS, domain_of

Rows = list[dict[str, Any]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
#: Heads whose answer is a name: the table's column and the names in their order.
CLASSES = {"kinds": ("sensitive_kind", KINDS), "task": ("task", TASKS)}
#: Rows of a source that count in full; of more, the whole source counts as the root of the ratio.
FULL_ROWS = 1_500
OWN_WEIGHT = 1.5  # of prompts written for Fareway


def read(table: Path) -> Rows:
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def numbers(rows: Rows, name: str) -> Floats:
    """(N,) of a column; null is nan."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float32)


def shares(rows: Rows, head: str) -> Floats:
    """(N, K) of a column of names: 1 at each row's name; null is a row of nan."""
    name, order = CLASSES[head]
    out = np.full((len(rows), len(order)), np.nan, np.float32)
    for place, row in enumerate(rows):
        if row[name]:
            out[place] = np.eye(len(order), dtype=np.float32)[order.index(row[name])]
    return out


def names(rows: Rows) -> np.ndarray[Any, Any]:
    """(N,) sources."""
    return np.array([row["source"] for row in rows])


def folds(rows: Rows) -> Integers:
    return np.array([row["fold"] for row in rows])


def domains(rows: Rows) -> Integers:
    """(N,) places in complexity.DOMAINS."""
    return np.array([domain_of(row["source"], row["group"]) for row in rows])


def shippable(rows: Rows) -> Mask:
    return np.array([row["shippable"] for row in rows])


def own(rows: Rows) -> Mask:
    """Prompts that were written for Fareway, whole or as a template."""
    return np.array([row["source"].startswith(("written", "template")) for row in rows])


def weights(rows: Rows) -> Floats:
    """(N,) so that no source is the classifier's whole world."""
    counts = Counter(row["source"] for row in rows)
    of_source = np.array([min(1.0, (FULL_ROWS / counts[row["source"]]) ** 0.5) for row in rows])
    return np.asarray(of_source * np.where(own(rows), OWN_WEIGHT, 1.0), np.float32)
