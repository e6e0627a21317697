"""What each choice of the encoder is worth: the same small run with one thing changed at a time.

    python -m models.training.ablate --table models/training/runs/table.jsonl.gz

Every arm is distilled on the same sample of texts for one epoch, a small part of the whole run,
so that the arms are to be compared with each other and not with what ships. Then heads are fitted
to four folds of a sample of the table and tested on the fifth. Arms already in the output file
are not run again. Columns of ablation.json, an object an arm:

- cosine: to the teacher, over texts that the student did not read
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer
from torch import Tensor

from models.training import complexity, distil, export, heads, metrics, stored
from models.training.corpus import clip
from models.training.distil import Config
from models.training.fit import HERE, recipes
from models.training.labels import PAIRS
from models.training.model import Encoder, Shape
from models.training.table import Rows, folds, numbers, own, read

TEXTS, UNREAD, ROWS = 10_000, 1_000, 16_000
CONFIG = replace(
    Config(),
    teachers=("use",),
    epochs=1,
    batch_tokens=3_072,
    checkpoint_every=10**9,
    warmup_steps=20,
    compiled=False,
)


class Bidirectional(Encoder):
    """A token sees as far ahead as behind."""

    def sees(self, distance: Tensor) -> Tensor:
        return distance.abs() < self.shape.sliding_window


class LastToken(Encoder):
    """The last token's state stands for the prompt."""

    def pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        return x[torch.arange(len(x)), mask.sum(1) - 1]


@dataclass(frozen=True)
class Arm:
    """One thing that is changed.

    Args:
        tokens: that are read of a prompt at most, head and tail.
        distilled: false leaves the encoder as it was born.
    """

    shape: Shape = field(default_factory=Shape)
    kind: type[Encoder] = Encoder
    tokens: int = 512
    distilled: bool = True


ARMS = {
    "as it ships: 256 wide, 1 layer, causal, mean": Arm(),
    "not distilled: random weights": Arm(distilled=False),
    "2 layers": Arm(Shape(n_layers=2)),
    "4 layers": Arm(Shape(n_layers=4)),
    "192 wide": Arm(Shape(dim=192, n_heads=6, n_kv_heads=2, hidden_dim=768)),
    "384 wide": Arm(Shape(dim=384, n_heads=12, n_kv_heads=3, hidden_dim=1_536)),
    "bidirectional": Arm(kind=Bidirectional),
    "last token": Arm(kind=LastToken),
    "context 256": Arm(tokens=256),
    "window 512": Arm(Shape(sliding_window=512)),
}


Texts = dict[str, str]  # and the language of each


def run(arm: Arm, rows: Rows, texts: Texts, unread: Texts, runs: Path) -> dict[str, Any]:
    """One arm -> its numbers."""
    torch.manual_seed(CONFIG.seed)
    config, begun = replace(CONFIG, shape=arm.shape), time.monotonic()
    if arm.distilled:
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "use.npz").symlink_to((runs / "use.npz").resolve())
            encoder = distil.train(config, texts, Path(scratch), arm.kind)
    else:
        encoder = arm.kind(arm.shape).eval()
    minutes = (time.monotonic() - begun) / 60
    ids = tokens_of([row["text"] for row in rows], arm.tokens)
    seen = heads.features_of(states(encoder, ids), ids)
    return {
        "minutes": round(minutes, 1),
        "cosine": round(cosine(encoder, unread, runs), 4),
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


def cosine(encoder: Encoder, unread: Texts, runs: Path) -> float:
    """How well a line through the states of half of the texts tells the teacher of the others."""
    true, reads = distil.lesson("use", [*unread], [*unread.values()], runs, "cpu")
    said, true = states(encoder, tokens_of([*unread], 512))[reads], true[reads]
    half = len(said) // 2
    with_one = np.column_stack((said, np.ones(len(said))))
    line = np.linalg.lstsq(
        np.concatenate((with_one[:half], np.eye(with_one.shape[1]) * 0.1)),
        np.concatenate((true[:half], np.zeros((with_one.shape[1], true.shape[1])))),
        rcond=None,
    )[0]
    guess = torch.from_numpy(with_one[half:] @ line)
    return float(F.cosine_similarity(guess, torch.from_numpy(true[half:])).mean())


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
    chance = random.Random(CONFIG.seed)
    rows = [row for row in read(args.table) if row["shippable"]]
    limit = CONFIG.amount.characters
    every = [*{clip(row["text"], limit): row["language"] for row in rows}.items()]
    chance.shuffle(every)
    unread, texts = dict(every[:UNREAD]), dict(every[UNREAD : UNREAD + TEXTS])
    rows = chance.sample(rows, ROWS)
    found = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    for name, arm in ARMS.items():
        if name not in found:
            found[name] = run(arm, rows, texts, unread, args.runs)
            args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {found[name]}", flush=True)


if __name__ == "__main__":
    main()
