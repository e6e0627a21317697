"""A user's outcomes and the shipped classifier's scores -> all that is measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fareway.errors import BadRequest
from fareway.policy import TIERS, Policy, Tier
from models.evaluation import plots
from models.evaluation.compare import cost_quality, only_strong, tier_cuts, tier_quality
from models.evaluation.curves import Floats
from models.evaluation.outcome_file import Outcomes
from models.evaluation.routers import Baselines, Say


def report(
    found: Outcomes,
    ours: Floats,
    pairs: Sequence[tuple[str, str]],
    tiers: Mapping[Tier, str],
    policy: Policy,
    cache: Path | None,
    say: Say,
) -> dict[str, Any]:
    """N prompts with outcomes and (N,) scores of our classifier -> the numbers, as JSON.

    Args:
        pairs: (weak, strong) models.
        tiers: the model that stands for each tier.
        cache: a folder in which MiniLM's vectors are kept.
        say: hears what is being done, and what is left out and why.

    Raises:
        BadRequest: no prompt was asked of all models of a pair, or of the tiers.
    """
    baselines = Baselines(found.texts, found.groups, cache, say)

    def scored(models: Sequence[str]) -> tuple[dict[str, Floats], Floats, Any]:
        places, outcomes, nano_usd = found.of(*models)
        if not len(places):
            raise BadRequest(f"no prompt tells the outcomes of all of {', '.join(models)}")
        if len(places) < len(found.texts):
            say(f"{', '.join(models)}: {len(places)} of {len(found.texts)} prompts tell of all")
        gains = only_strong(outcomes[0], outcomes[-1])
        return {"fareway": ours[places], **baselines.scores(places, gains)}, outcomes, nano_usd

    measured = []
    for weak, strong in pairs:
        say(f"{weak} -> {strong}")
        measured.append({"weak": weak, "strong": strong, **cost_quality(*scored((weak, strong)))})
    say(", ".join(f"{tier}: {model}" for tier, model in tiers.items()))
    scores, outcomes, nano_usd = scored([tiers[tier] for tier in TIERS])
    return {
        "prompts": len(found.texts),
        "folds": len(set(baselines.folds.tolist())),
        "priced_by": found.priced_by,
        "price_version": policy.prices.version,
        "policy_version": policy.version,
        "models": {
            model: {
                "prompts": found.asked(model),
                "quality": round(found.mean(model), 4),
                "usd_per_call": _text(found.usd_per_call(model)),
            }
            for model in found.models
        },
        "pairs": measured,
        "tiers": {
            "models": dict(tiers),
            "measured": tier_quality(scores, tier_cuts(policy), outcomes, nano_usd),
        },
    }


def write(measured: Mapping[str, Any], out: Path) -> None:
    """metrics.json, curves and all, and the plot."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(measured, indent=1, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    if "cost" in measured["tiers"]["measured"]["routers"]["fareway"]:
        plots.tier_plot({"Our tiers": measured["tiers"]}, out / "cost_quality")
    plots.pair_plot(
        {f"{pair['weak']} > {pair['strong']}": {"": pair} for pair in measured["pairs"]},
        out / "quality_gap",
    )


def _text(usd: Any) -> str | None:
    return None if usd is None else f"{usd:.9f}"
