"""The table and an exported encoder -> calibrated heads, and cut points for the policy.

    python -m models.training.fit --table models/training/runs/table.jsonl.gz

The states are those of the int8 encoder in models/classifier, prompt by prompt as they are
served, so that the heads are fitted to what they will see. Every head is first fitted five times
with a fold of groups left out; on those held-out logits it is calibrated (calibrate.py). Then
once more on all rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fareway.classify import Classifier
from fareway.policy import Policy, load_policy
from fareway.settings import PACKAGE
from models.training import calibrate, complexity, heads, hidden, kept, stored
from models.training.disturb import as_written
from models.training.heads import Features, Floats
from models.training.prepare import FOLDS
from models.training.table import (
    CLASSES,
    Mask,
    Rows,
    domains,
    folds,
    names,
    numbers,
    own,
    read,
    shares,
    shippable,
    weights,
)

HERE = Path(__file__).parent
CLASSIFIER = HERE.parent / "classifier"
CHECKPOINT = HERE / "checkpoint"
#: The files that make a head.
MADE_BY = {"complexity": ("complexity.py", "labels.py"), "sensitivity": ("hidden.py",)}
MADE_ALL = ("heads.py", "table.py")
QUALITY = 0.92  # of held-out prompts of our own go to a tier that suffices, by the policy's cuts
RECALL = 0.89  # of held-out sensitive prompts of our own are found, by the policy's threshold


class Fitted(Protocol):
    def logits(self, features: Features) -> Floats: ...
    def scaled(self, factor: Any, shift: Any) -> Any: ...


@dataclass(frozen=True)
class Recipe:
    """How one head is fitted.

    Args:
        known: (N,) the rows that tell something of it.
        fit: some rows -> the head.
    """

    known: Mask
    fit: Callable[[Mask], Fitted]


def features(folder: Path, rows: Rows, cache: Path | None) -> Features:
    """What the heads see of each row by a classifier's encoder; kept in a file of `cache`."""
    classifier, texts = Classifier.load(folder), [row["text"] for row in rows]
    encoder = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["encoder"]
    path = cache / f"states-{encoder[:12]}.npz" if cache else None

    def ask(new: list[str]) -> Floats:
        return classifier.states(classifier.tokens(new), workers=os.cpu_count() or 1)

    states = kept.vectors(texts, ask, path)
    return heads.features_of(states, classifier.tokens(texts))


def recipes(rows: Rows, seen: Features) -> dict[str, Recipe]:
    """Of each head, how it is fitted to some of the rows."""
    weight, levels, gains = weights(rows), numbers(rows, "complexity"), numbers(rows, "need_strong")
    sources, domain = names(rows), domains(rows)
    sensitive, dissatisfied = numbers(rows, "sensitive"), numbers(rows, "dissatisfied")

    def graded(part: Mask) -> Fitted:
        return complexity.fit(
            seen[part], levels[part], gains[part], domain[part], sources[part], weight[part]
        )

    def classes(target: Floats) -> Recipe:
        return Recipe(
            ~np.isnan(target[:, 0]),
            lambda part: heads.fit_classes(seen[part], target[part], weight[part]),
        )

    return {
        "complexity": Recipe(~np.isnan(levels) | ~np.isnan(gains), graded),
        "sensitivity": Recipe(
            ~np.isnan(sensitive),
            lambda part: hidden.fit(seen[part], sensitive[part], weight[part]),
        ),
        **{name: classes(shares(rows, name)) for name in CLASSES},
        "dissatisfaction": Recipe(
            ~np.isnan(dissatisfied),
            lambda part: heads.fit_yes_no(seen[part], dissatisfied[part], weight[part]),
        ),
    }


def held_out(
    rows: Rows, seen: Features, cache: Path | None, say: Callable[[str], None]
) -> dict[str, Floats]:
    """Of each head the (N, K) logits of each row by one that saw no row of its group.

    Kept in files of `cache`, for evaluate.py, until the table, the states or the recipe change.
    """
    out, fold = {}, folds(rows)
    given = hashlib.sha256(seen.state.tobytes() + json.dumps(rows).encode()).digest()
    for name, recipe in recipes(rows, seen).items():
        code = b"".join((HERE / file).read_bytes() for file in (*MADE_BY.get(name, ()), *MADE_ALL))
        digest = hashlib.sha256(given + code).hexdigest()[:12]
        path = cache / f"held-out-{name}-{digest}.npy" if cache else None
        if path is not None and path.exists():
            out[name] = np.load(path)
            continue
        may = recipe.known & shippable(rows)
        for f in range(FOLDS):
            say(f"{name}: without fold {f}")
            logits = recipe.fit(may & (fold != f)).logits(seen[fold == f])
            out.setdefault(name, np.full((len(rows), logits.shape[1]), np.nan, np.float32))
            out[name][fold == f] = logits
        if path is not None:
            np.save(path, out[name])
    return out


def threshold(sensitivity: Floats, sensitive: Floats) -> float:
    """(N,) held-out probabilities and answers -> the threshold that finds RECALL of the grave."""
    return round(float(np.quantile(sensitivity[sensitive == 1], 1 - RECALL)), 2)


def tier_usd(policy: Policy) -> list[float]:
    """What a million tokens in and a million out cost at each tier's first model, USD."""
    first = [tier.models[0] for tier in policy.tiers.values()]
    prices = [policy.price(model, next(iter(policy.models[model].ids))) for model in first]
    return [float(price.input + price.output) for price in prices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--cache", type=Path, default=HERE / "runs")
    args = parser.parse_args()
    rows = read(args.table)
    seen = features(args.classifier, rows, args.cache)
    fitted: dict[str, Any] = {}
    told: dict[str, Any] = {}
    unseen = held_out(rows, seen, args.cache, lambda step: print(step, flush=True))
    for name, recipe in recipes(rows, seen).items():
        logits = unseen[name]
        factors, shifts = calibrate.scaling(rows, name, logits)
        told[name] = {
            "factors": [round(float(f), 4) for f in factors],
            "shifts": [round(float(s), 4) for s in shifts],
        }
        p = calibrate.said(name, logits * factors + shifts)
        ours = own(rows) & recipe.known & ~np.array([row["for_sensitivity"] for row in rows])
        if name == "complexity":
            levels = numbers(rows, "complexity")
            ours &= ~np.isnan(levels) & np.array([as_written(row) for row in rows])
            scores, usd = complexity.score(p[ours]), tier_usd(load_policy(PACKAGE / "policy.toml"))
            told[name]["cuts"] = calibrate.cut_points(scores, levels[ours], usd, QUALITY)
        if name == "sensitivity":
            told[name]["threshold"] = threshold(p[ours, 0], numbers(rows, "sensitive")[ours])
        fitted[name] = recipe.fit(recipe.known & shippable(rows)).scaled(factors, shifts)
        print(f"{name}: {told[name]}", flush=True)
    stored.write(fitted, args.checkpoint)
    (args.checkpoint / "heads.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
