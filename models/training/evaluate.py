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
from models.evaluation.compare import without_curves
from models.evaluation.curves import Order, apgr, cpt, recovered
from models.evaluation.public import public_cost_quality
from models.training import calibrate, complexity, metrics
from models.training.baselines import Baseline, Length, MiniLM, Words
from models.training.disturb import as_written
from models.training.fit import Recipe, features, held_out, recipes
from models.training.heads import Features, Floats
from models.training.labels import PAIRS
from models.training.table import CLASSES, Rows, folds, numbers, own, shares, shippable
from models.training.table import names as sources_of

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
#: Prompts written for Fareway, grave ones and harmless ones of like words: a writer each.
LOOK_ALIKES = tuple(
    f"written_{writer}"
    for writer in (
        "en_health",
        "en_law_harm",
        "en_look_alikes",
        "en_contrast",
        "en_contrast_body",
        "en_contrast_law",
        "en_everyday",
        "east_harm",
        "west_harm",
        "asia_harm",
        "eu_sensitive",
        "world_sensitive",
        "world_everyday",
        "romance_look_alikes",
        "romance_contrast",
        "north_look_alikes",
        "north_contrast",
        "east_look_alikes",
        "east_contrast",
    )
)
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
    how, said = recipes(rows, seen), {}
    for name, logits in held_out(rows, seen, cache, say).items():
        factors, shifts = calibrate.scaling(rows, name, logits)
        said[name] = calibrate.said(name, logits * factors + shifts)
    scores = complexity.score(said["complexity"])
    texts = [row["text"] for row in rows]
    baselines: list[Baseline] = [Length(texts), Words(texts), MiniLM(texts, cache)]
    routers = beside(rows, scores, baselines, say)
    return {
        "rows": len(rows),
        "outcomes": {
            source: {name: _of_source(rows, source, score) for name, score in routers.items()}
            for source in PAIRS
        },
        "cost_quality": public_cost_quality(rows, routers, policy, say),
        "sensitivity": {
            "left_out": left_out(rows, seen, how["sensitivity"], baselines[1], say),
            "look_alikes": look_alikes(rows, said["sensitivity"][:, 0]),
        },
        "tiers": tiers(rows, scores, policy),
        "calibration": calibration(rows, said),
        "other_heads": other_heads(rows, said),
    }


def beside(rows: Rows, ours: Floats, baselines: Sequence[Baseline], say: Say) -> dict[str, Floats]:
    """Of ours, chance and each baseline the (N,) scores of the rows, held out by fold."""
    gains, fold = numbers(rows, "need_strong"), folds(rows)
    known = np.flatnonzero(~np.isnan(gains))
    scored = {"fareway": ours, "random": np.random.default_rng(0).random(len(rows))}
    for baseline in baselines:
        say(f"outcomes: {baseline.name}")
        scored[baseline.name] = np.full(len(rows), np.nan, np.float32)
        for held in np.unique(fold):
            train, test = known[fold[known] != held], known[fold[known] == held]
            scored[baseline.name][test] = baseline.fit_score(list(train), gains[train], list(test))
    return scored


def _of_source(rows: Rows, source: str, scores: Floats) -> dict[str, Any]:
    """APGR and CPT from the outcomes that a pair tells: 1 is a gain of the strong model."""
    places = [i for i, row in enumerate(rows) if source in (row["pairs"] or {})]
    told = np.array([rows[i]["pairs"][source] for i in places], float).T  # (pairs, N)
    said = scores[places]
    low, high = metrics.interval(
        len(places), lambda draw: metrics.mean_auc(said[draw], [answer[draw] for answer in told])
    )
    gained = []
    for answer in told:
        known = ~np.isnan(answer)
        once = np.ones(known.sum(), np.int64)
        gained.append(recovered(Order(said[known]).walk(answer[known], once)))
    return {
        "prompts": len(places),
        "auc": round(metrics.mean_auc(said, list(told)), 4),
        "interval": [round(low, 4), round(high, 4)],
        "apgr": round(float(np.mean([apgr(pgr) for pgr in gained])), 4),
        "cpt50": round(float(np.mean([cpt(pgr, 0.5) for pgr in gained])), 1),
        "cpt80": round(float(np.mean([cpt(pgr, 0.8) for pgr in gained])), 1),
    }


def left_out(
    rows: Rows, seen: Features, recipe: Recipe, words: Baseline, say: Say
) -> dict[str, Any]:
    """AUC of sensitivity on each source that was left out, ours and that of words."""
    sensitive = numbers(rows, "sensitive")
    out = {}
    for source, train, test in _splits(rows, sensitive):
        say(f"left out: {source}")
        answers = np.nan_to_num(sensitive[test])
        ours = recipe.fit(train).logits(seen[test])[:, 0]
        theirs = words.fit_score(list(train), sensitive[train], list(test))
        out[source] = {
            "prompts": len(test),
            "fareway": round(float(roc_auc_score(answers, ours)), 4),
            "tf-idf": round(float(roc_auc_score(answers, theirs)), 4),
        }
    return out


def _splits(rows: Rows, sensitive: Floats) -> Iterator[tuple[str, Any, Any]]:
    names = sources_of(rows)
    may = shippable(rows) & ~np.isnan(sensitive)
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
        if row["source"] in LOOK_ALIKES and as_written(row):
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
    names, order = sources_of(rows), ("cheap", "mid", "premium")
    placed = np.array([order.index(policy.tier(policy.complexity(float(s)))) for s in scores])
    out: dict[str, Any] = {}
    for source in SHOWN:
        found = placed[names == source]
        out[source] = [round(float((found == tier).mean()), 3) for tier in range(3)]
    levels = numbers(rows, "complexity")
    ours = own(rows) & ~np.isnan(levels)
    right = placed[ours] == np.digitize(levels[ours], (2.5, 4.5))
    return {"shares": out, "written": {"right": round(float(right.mean()), 4)}}


def calibration(rows: Rows, said: dict[str, Floats]) -> dict[str, Any]:
    """ECE and reliability of sensitivity, and of "is above cheap" and "is premium"."""
    levels, sensitive = numbers(rows, "complexity"), numbers(rows, "sensitive")
    told, known = ~np.isnan(levels), ~np.isnan(sensitive)
    p, true = said["complexity"][told], complexity.spread(levels[told])
    heads = {
        "complexity above 2": (p[:, 2:].sum(1), true[:, 2:].sum(1)),
        "complexity 5": (p[:, 4], true[:, 4]),
        "sensitivity": (said["sensitivity"][known, 0], sensitive[known]),
    }
    return {
        "ece": {name: round(metrics.ece(*pair), 4) for name, pair in heads.items()},
        "reliability": {name: _bins(*pair) for name, pair in heads.items()},
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


def other_heads(rows: Rows, said: dict[str, Floats]) -> dict[str, Any]:
    """How often the task and the kind of sensitivity are right, and the AUC of a complaint."""
    right = {}
    for name in CLASSES:
        target = shares(rows, name)
        told = ~np.isnan(target[:, 0])
        right[name] = float((said[name][told].argmax(1) == target[told].argmax(1)).mean())
    ours = sources_of(rows) == "written_followups"
    dissatisfied, complains = numbers(rows, "dissatisfied")[ours], said["dissatisfaction"][ours, 0]
    return {
        "task_accuracy": round(right["task"], 4),
        "kind_accuracy": round(right["kinds"], 4),
        "dissatisfaction_auc": round(float(roc_auc_score(dissatisfied, complains)), 4),
    }


def main() -> None:
    import argparse

    from fareway.policy import load_policy
    from fareway.settings import PACKAGE
    from models.training.fit import CLASSIFIER, HERE
    from models.training.table import read

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
    told = json.dumps(without_curves(found), indent=1)
    args.out.write_text(told + "\n", encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
