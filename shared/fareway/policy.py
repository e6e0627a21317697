"""policy.toml -> Policy: tiers, thresholds, candidates. A faulty file names all its faults."""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError

from fareway.errors import ConfigError
from fareway.model_table import ModelTable
from fareway.policy_tables import (
    TIERS,
    AggregatorTable,
    Attempts,
    ClassifierTable,
    Document,
    Escalation,
    Exploration,
    Sensitivity,
    Shadow,
    Tier,
    TierTable,
)
from fareway.prices import Price, PriceTable, list_prices

__all__ = ["TIERS", "Policy", "Tier", "load_policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the routing rules, checked: every name in it is known and priced."""

    version: str
    baseline: str
    expected_completion_tokens: int
    classifier: ClassifierTable
    cuts: tuple[float, ...]
    sensitivity: Sensitivity
    unclassified_tier: Tier
    escalation: Escalation
    exploration: Exploration
    shadow: Shadow
    attempts: Attempts
    aggregators: Mapping[str, AggregatorTable]
    tiers: Mapping[Tier, TierTable]
    models: Mapping[str, ModelTable]
    prices: PriceTable

    def complexity(self, score: float) -> int:
        """Expected complexity, 1.0 to 5.0 -> complexity 1 to 5 by the cut points."""
        return 1 + bisect_right(self.cuts, score)

    def tier(self, complexity: int) -> Tier:
        """The tier that takes this complexity."""
        return next(t for t in TIERS if complexity in self.tiers[t].complexity)

    def price(self, model: str, aggregator: str) -> Price:
        """The price of one of the policy's models at an aggregator."""
        name = self.models[model].ids[aggregator]
        own = self.models[model].usd_per_mtok
        price = self.prices.find(name if own is None else model)
        assert price is not None  # load_policy refuses an unpriced model
        return price

    def baseline_price(self) -> Price:
        """The price of the model that all calls would have gone to."""
        return self.price(self.baseline, next(iter(self.models[self.baseline].ids)))


def load_policy(file: Path, prices: PriceTable | None = None) -> Policy:
    """Reads and checks a policy file.

    Args:
        file: a `policy.toml`.
        prices: list prices; the shipped ones if not given.

    Raises:
        ConfigError: with every fault of the file at once.
    """
    try:
        document = Document.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(file), [str(error)]) from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(str(file), faults + _semantic_faults_of_raw(file)) from error
    table, faults = _price(document, prices or list_prices())
    faults += _faults(document)
    if faults:
        raise ConfigError(str(file), faults)
    return Policy(
        version=document.version,
        baseline=document.baseline,
        expected_completion_tokens=document.expected_completion_tokens,
        classifier=document.classifier,
        cuts=tuple(document.complexity.cuts),
        sensitivity=document.sensitivity,
        unclassified_tier=document.unclassified.tier,
        escalation=document.escalation,
        exploration=document.exploration,
        shadow=document.shadow,
        attempts=document.attempts,
        aggregators=document.aggregators,
        tiers={tier: document.tiers[tier] for tier in TIERS},
        models=document.models,
        prices=table,
    )


def _price(document: Document, prices: PriceTable) -> tuple[PriceTable, list[str]]:
    faults: list[str] = []
    overrides: dict[str, Price] = {}
    for name, model in document.models.items():
        if model.usd_per_mtok is not None:
            try:
                price = Price.of(model.usd_per_mtok)
            except ValueError as error:
                faults.append(f"models.{name}.usd_per_mtok: {error}")
                continue
            overrides |= dict.fromkeys([name, *model.ids.values()], price)
    table = prices.with_overrides(overrides)
    for name, model in document.models.items():
        faults += [
            f"models.{name}: no price is known for {id_!r} ({aggregator}); give usd_per_mtok"
            for aggregator, id_ in model.ids.items()
            if model.usd_per_mtok is None and table.find(id_) is None
        ]
    return table, faults


def _faults(document: Document) -> list[str]:
    """What the shape alone cannot tell: names that lead nowhere, gaps and disorder."""
    cuts = document.complexity.cuts
    faults = _disorder(cuts)
    if any(not 1 <= cut <= 5 for cut in cuts):
        faults.append(f"complexity.cuts: each lies between 1 and 5, not {cuts}")
    faults += [
        f"tiers.{t}: unknown tier; the tiers are {', '.join(TIERS)}"
        for t in document.tiers
        if t not in TIERS
    ]
    faults += [f"tiers.{t}: missing" for t in TIERS if t not in document.tiers]
    taken = [c for t in TIERS if t in document.tiers for c in document.tiers[t].complexity]
    if taken != [1, 2, 3, 4, 5]:
        faults.append(
            f"tiers: cheap, mid, premium must take complexity 1 to 5 in order, not {taken}"
        )
    for name, tier in document.tiers.items():
        if not tier.models:
            faults.append(f"tiers.{name}.models: empty")
        faults += [
            f"tiers.{name}: unknown model {m!r}"
            for m in dict.fromkeys([*tier.models, *tier.sensitive])
            if m not in document.models
        ]
    faults += _teacher_faults(document.classifier, document.aggregators)
    if document.shadow.share and not document.shadow.policy:
        faults.append("shadow: a share needs a policy")
    if document.baseline not in document.models:
        faults.append(f"baseline: unknown model {document.baseline!r}")
    for name, model in document.models.items():
        faults += [
            f"models.{name}.ids: unknown aggregator {a!r}"
            for a in model.ids
            if a not in document.aggregators
        ]
    return faults


def _teacher_faults(
    table: ClassifierTable, aggregators: Mapping[str, AggregatorTable]
) -> list[str]:
    faults = []
    if table.aggregator is not None and table.base_url is not None:
        faults.append("classifier: give aggregator or base_url, not both")
    if table.aggregator is not None and table.aggregator not in aggregators:
        faults.append(f"classifier.aggregator: unknown aggregator {table.aggregator!r}")
    nowhere = table.model is None or (table.aggregator or table.base_url) is None
    if table.mode == "llm" and nowhere:
        faults.append('classifier: mode "llm" needs model, and aggregator or base_url')
    return faults


def _semantic_faults_of_raw(file: Path) -> list[str]:
    """With a wrong shape the names can't be checked all; the two commonest slips still can."""
    raw = tomllib.loads(file.read_text(encoding="utf-8"))
    faults = []
    tiers = raw.get("tiers")
    if isinstance(tiers, dict):
        faults += [
            f"tiers.{t}: unknown tier; the tiers are {', '.join(TIERS)}"
            for t in tiers
            if t not in TIERS
        ]
        faults += [
            f"tiers.{t}.models: empty"
            for t, table in tiers.items()
            if isinstance(table, dict) and not table.get("models")
        ]
    cuts = (raw.get("complexity") or {}).get("cuts")
    if isinstance(cuts, list) and all(isinstance(c, int | float) for c in cuts):
        faults += _disorder(cuts)
    return faults


def _disorder(cuts: list[float]) -> list[str]:
    ascending = all(a < b for a, b in pairwise(cuts))
    return [] if ascending else [f"complexity.cuts: must ascend, not {cuts}"]
