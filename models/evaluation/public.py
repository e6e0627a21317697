"""The public sources' outcomes and held-out scores -> cost and quality of each router.

evaluate.py calls it with what it has held out. The completions' own lengths are not in the data:
they are priced as the router itself would before a call, by the list at an assumed length. A model
that reasons at length costs more than that in truth, and routing away from it saves more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fareway.policy import TIERS, Policy
from models.evaluation.compare import Scores, cost_quality, tier_cuts, tier_quality
from models.evaluation.curves import Floats, Integers
from models.evaluation.outcome_file import Entry, Outcomes, collect
from models.training.labels import PAIRS

Rows = Sequence[Mapping[str, Any]]
Say = Callable[[str], None]


def public_cost_quality(rows: Rows, scores: Scores, policy: Policy, say: Say) -> dict[str, Any]:
    """Rows of prepare.py and held-out scores -> each source's pairs of models, and our tiers.

    Args:
        scores: router -> (N,) of the rows, `fareway` first and on the scale of the policy's cuts;
            nan where a row has no outcomes.
    """
    with Path(__file__).with_name("tiers.toml").open("rb") as file:
        book = tomllib.load(file)
    found: dict[str, Any] = {"pairs": {}, "tiers": {}, "price_version": policy.prices.version}
    for source, pairs in PAIRS.items():
        tiers = book["sources"].get(source)
        models = {model for pair in pairs for model in pair} | set((tiers or {}).values())
        places, outcomes = _of_source(rows, source, models, policy, book["listed_as"])
        if not len(places):
            continue
        say(f"cost and quality: {source}")
        found["pairs"][source] = {}
        for weak, strong in pairs:
            told = _of(outcomes, places, scores, weak, strong)
            found["pairs"][source][f"{weak} > {strong}"] = cost_quality(*told)
        if tiers:
            said, *told = _of(outcomes, places, scores, *(tiers[tier] for tier in TIERS))
            measured = tier_quality(said, tier_cuts(policy), *told)
            found["tiers"][source] = {"models": tiers, "measured": measured}
    return found


def _of_source(
    rows: Rows, source: str, models: set[str], policy: Policy, listed_as: Mapping[str, str]
) -> tuple[Integers, Outcomes]:
    """The rows of a source that tell outcomes, and those of some models."""
    places, entries = [], []
    for place, row in enumerate(rows):
        known = {m: o for m, o in (row["outcomes"] or {}).items() if m in models}
        if known and source in (row["pairs"] or {}):
            places.append(place)
            messages = [{"role": "user", "content": row["text"]}]
            entries.append(Entry(messages, known, {}, {}, row["group"]))
    return np.array(places, np.int64), collect(entries, policy, listed_as)


def _of(
    outcomes: Outcomes, places: Integers, scores: Scores, *models: str
) -> tuple[dict[str, Floats], Floats, Integers | None]:
    """The scores, outcomes and costs of the prompts that all of the models were asked."""
    asked, told, nano_usd = outcomes.of(*models)
    said = {name: np.asarray(score, float)[places[asked]] for name, score in scores.items()}
    return said, told, nano_usd
