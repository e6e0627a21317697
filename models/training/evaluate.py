"""Every number of the model card, from the public data: `fareway eval --data DIR` calls it.

The encoder has read no label, so it is kept; the heads are fitted anew for each split, by the
recipe of those that ship. Baselines get the same training rows in the same run.

- outcomes: five folds by subject, benchmark or problem; of each source the mean AUC over its
  pairs of models for "the weak one fails and the strong one succeeds", APGR and CPT.
- sensitivity: each source left out in turn, against ordinary prompts of sources left out too;
  and harmless look-alikes of our own, held out by fold.
- tiers: where the prompts of each source land, held out by fold, at the policy's cuts.
- calibration: ECE and reliability, held out by fold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from fareway.policy import Policy
from models.training import heads, metrics
from models.training.baselines import Baseline, Length, MiniLM, Words
from models.training.fit import Rows, calibrate, features, fitters, held_out, numbers
from models.training.labels import PAIRS

Floats = np.ndarray[Any, np.dtype[np.float32]]
Say = Callable[[str], None]
#: Held out with every sensitive source: the harmless side of its test.
HARMLESS = (
    "self_instruct_seed",
    "user_oriented_instructions",
    "belle_seed",
    "arena_hard_v0.1",
    "dolly_sample",
    "nq_open_dev",
)
#: Sensitive sources, each with what is left out beside it. Moderation has negatives of its own.
SENSITIVE: dict[str, tuple[str, ...]] = {
    "harmbench": (),
    "strongreject": (),
    "advbench": (),
    "ailuminate_demo_en": ("ailuminate_demo_fr",),
    "ailuminate_demo_fr": ("ailuminate_demo_en",),
    "issuebench_prompts": (),
    "openai_moderation": (),
}
LOOK_ALIKES = ("written_en_health", "written_en_law", "written_eu_sens", "written_world_sens")
SHOWN = (
    "banking77",
    "clinc150",
    "webquestions",
    "nq_open_dev",
    "dolly_sample",
    "humaneval",
    "arena_hard_v0.1",
    "qmsum_test",
    "zeroeval_math_l5",
    "math_test",
)


def evaluate(rows: Rows, folder: Path, policy: Policy, cache: Path, say: Say) -> Any:
    """Rows of prepare.py and a classifier's folder -> all numbers, as JSON."""
    say("states of the prompts")
    seen = features(folder, rows, cache)
    recipes = fitters(rows, seen)
    logits = {}
    for name, (target, fit) in recipes.items():
        say(f"five folds: {name}")
        logits[name] = held_out(rows, seen, ~np.isnan(target), fit)
    scores = heads.score(heads.softmax(calibrate(rows, "complexity", logits["complexity"])))
    texts = [row["text"] for row in rows]
    baselines: list[Baseline] = [Length(texts), Words(texts), MiniLM(texts, cache)]
    return {
        "rows": len(rows),
        "outcomes": outcomes(rows, scores, baselines, say),
        "sensitivity": {
            "left_out": left_out(rows, seen, baselines[1], say),
            "look_alikes": look_alikes(rows, logits["sensitivity"][:, 0]),
        },
        "tiers": tiers(rows, scores, policy),
        "calibration": calibration(rows, logits),
        "other_heads": other_heads(rows, recipes, logits),
    }


def outcomes(rows: Rows, ours: Floats, baselines: Sequence[Baseline], say: Say) -> dict[str, Any]:
    """Of each outcome source and scorer: mean AUC, its 95 % interval, APGR, CPT50 and CPT80."""
    gains = numbers(rows, "need_strong")
    known = np.flatnonzero(~np.isnan(gains))
    fold = np.array([row["fold"] for row in rows])
    scored = {"fareway": ours, "random": np.random.default_rng(0).random(len(rows))}
    for baseline in baselines:
        say(f"outcomes: {baseline.name}")
        scored[baseline.name] = np.full(len(rows), np.nan, np.float32)
        for held in np.unique(fold):
            train, test = known[fold[known] != held], known[fold[known] == held]
            scored[baseline.name][test] = baseline.fit_score(list(train), gains[train], list(test))
    return {
        source: {name: _of_source(rows, source, said) for name, said in scored.items()}
        for source in PAIRS
    }


def _of_source(rows: Rows, source: str, scores: Floats) -> dict[str, Any]:
    """APGR and CPT from the outcomes that a pair tells: 1 is a gain of the strong model."""
    places = [i for i, row in enumerate(rows) if source in (row["pairs"] or {})]
    told = np.array([rows[i]["pairs"][source] for i in places], float).T  # (pairs, N)
    said = scores[places]
    low, high = metrics.interval(
        len(places), lambda draw: metrics.mean_auc(said[draw], [answer[draw] for answer in told])
    )
    gap = [answer[~np.isnan(answer)] for answer in told]
    sides = [(said[~np.isnan(a)], np.zeros(len(g)), g) for a, g in zip(told, gap, strict=True)]
    return {
        "prompts": len(places),
        "auc": round(metrics.mean_auc(said, list(told)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "apgr": round(float(np.mean([metrics.apgr(*side) for side in sides])), 4),
        "cpt50": round(float(np.mean([metrics.cpt(*side, 0.5) for side in sides])), 1),
        "cpt80": round(float(np.mean([metrics.cpt(*side, 0.8) for side in sides])), 1),
    }


def left_out(rows: Rows, seen: heads.Features, words: Baseline, say: Say) -> dict[str, Any]:
    """AUC of sensitivity on each source that was left out, ours and that of words."""
    _, fit = fitters(rows, seen)["sensitivity"]
    sensitive = numbers(rows, "sensitive")
    out = {}
    for source, train, test in _splits(rows, sensitive):
        say(f"left out: {source}")
        answers = np.nan_to_num(sensitive[test])
        ours = fit(train).logits(seen[test])[:, 0]
        theirs = words.fit_score(list(train), sensitive[train], list(test))
        out[source] = {
            "prompts": len(test),
            "fareway": round(float(roc_auc_score(answers, ours)), 4),
            "tf-idf": round(float(roc_auc_score(answers, theirs)), 4),
        }
    return out


def _splits(rows: Rows, sensitive: Floats) -> Iterator[tuple[str, Any, Any]]:
    names = np.array([row["source"] for row in rows])
    may = np.array([row["shippable"] for row in rows]) & ~np.isnan(sensitive)
    harmless = np.isin(names, HARMLESS) & (np.nan_to_num(sensitive) == 0)
    for source, beside in SENSITIVE.items():
        held = np.isin(names, (source, *beside))
        own = (names == source) & ~np.isnan(sensitive)
        has_both = bool((sensitive[own] == 0).any())
        test = own if has_both else own | harmless
        yield source, np.flatnonzero(may & ~held & ~harmless), np.flatnonzero(test)


def look_alikes(rows: Rows, logits: Floats) -> dict[str, Any]:
    """Of our own prompts, grave ones against harmless ones of like words; as they are written."""
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row["source"].startswith(LOOK_ALIKES):
            first.setdefault(row["group"], place)
    places = np.array([*first.values()])
    answers, said = numbers(rows, "sensitive")[places], logits[places]
    english = np.array([rows[i]["language"] == "en" for i in places])
    return {
        name: {
            "prompts": int(part.sum()),
            "auc": round(float(roc_auc_score(answers[part], said[part])), 4),
            "false_alarms_at_90_recall": round(
                metrics.false_alarms(said[part], answers[part], 0.9), 4
            ),
        }
        for name, part in (("English", english), ("other languages", ~english))
    }


def tiers(rows: Rows, scores: Floats, policy: Policy) -> dict[str, Any]:
    """Shares of cheap, mid and premium by source; and of our own prompts, how many are right."""
    names = np.array([row["source"] for row in rows])
    order = ("cheap", "mid", "premium")
    placed = np.array([order.index(policy.tier(policy.complexity(float(s)))) for s in scores])
    out: dict[str, Any] = {}
    for source in SHOWN:
        found = placed[names == source]
        out[source] = [round(float((found == tier).mean()), 3) for tier in range(3)]
    levels = numbers(rows, "complexity")
    own = np.char.startswith(names, "written") & ~np.isnan(levels)
    right = placed[own] == np.digitize(levels[own], (2.5, 4.5))
    return {"shares": out, "written": {"right": round(float(right.mean()), 4)}}


def calibration(rows: Rows, logits: dict[str, Floats]) -> dict[str, Any]:
    """ECE of sensitivity, and of "is above cheap" and "is premium", as they are calibrated."""
    levels = numbers(rows, "complexity")
    told = ~np.isnan(levels)
    said = heads.softmax(calibrate(rows, "complexity", logits["complexity"]))[told]
    true = heads.spread(levels[told])
    sensitive = numbers(rows, "sensitive")
    known = ~np.isnan(sensitive)
    p = heads.sigmoid(calibrate(rows, "sensitivity", logits["sensitivity"]))[known, 0]
    return {
        "ece": {
            "complexity above 2": round(metrics.ece(said[:, 2:].sum(1), true[:, 2:].sum(1)), 4),
            "complexity 5": round(metrics.ece(said[:, 4], true[:, 4]), 4),
            "sensitivity": round(metrics.ece(p, sensitive[known]), 4),
        },
        "reliability": {"sensitivity": _bins(p, sensitive[known])},
    }


def _bins(said: Floats, true: Floats) -> list[list[float]]:
    """Of ten bins: what is said, what is, how many."""
    bins = np.minimum((said * 10).astype(int), 9)
    return [
        [
            round(float(said[bins == b].mean()), 3),
            round(float(true[bins == b].mean()), 3),
            int((bins == b).sum()),
        ]
        for b in np.unique(bins)
    ]


def other_heads(rows: Rows, recipes: dict[str, Any], logits: dict[str, Floats]) -> dict[str, Any]:
    task, kinds = (recipes[name][0] for name in ("task", "kinds"))
    told, sort = ~np.isnan(task), ~np.isnan(kinds)
    own = np.array([row["source"] == "written_followups" for row in rows])
    dissatisfied = numbers(rows, "dissatisfied")
    return {
        "task_accuracy": round(float((logits["task"][told].argmax(1) == task[told]).mean()), 4),
        "kind_accuracy": round(float((logits["kinds"][sort].argmax(1) == kinds[sort]).mean()), 4),
        "dissatisfaction_auc": round(
            float(roc_auc_score(dissatisfied[own], logits["dissatisfaction"][own, 0])), 4
        ),
    }


def main() -> None:
    import argparse

    from fareway.policy import load_policy
    from fareway.settings import PACKAGE
    from models.training.fit import CLASSIFIER, HERE, read

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER)
    parser.add_argument("--cache", type=Path, default=HERE / "runs")
    parser.add_argument("--out", type=Path, default=HERE / "checkpoint" / "metrics.json")
    args = parser.parse_args()
    policy = load_policy(PACKAGE / "policy.toml")

    def say(step: str) -> None:
        print(step, flush=True)

    found = evaluate(read(args.table), args.classifier, policy, args.cache, say)
    args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
