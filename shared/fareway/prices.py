"""Model x usage -> USD. Pure; list prices come from `prices.json`, overrides from the policy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from pathlib import Path

NANO = Decimal("0.000000001")
MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one completion used; kinds within a total are counted in it too.

    Args:
        prompt_tokens: all input tokens, cached and cache-write ones included.
        completion_tokens: all output tokens, reasoning included.
        estimated: no usage was reported and the counts are ours.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """Rates of one model, USD per million tokens; a missing cache rate is the input rate."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None

    @classmethod
    def of(cls, rates: Mapping[str, object]) -> Price:
        """`{"input": "1.25", "output": "10", "cached": "0.125"}` -> Price.

        Raises:
            ValueError: a rate is missing, negative or no number, or a name is unknown.
        """
        unknown = set(rates) - {"input", "output", "cached", "cache_write"}
        if unknown or not {"input", "output"} <= set(rates):
            raise ValueError(
                "a price has `input` and `output`, and may have `cached`, `cache_write`"
            )
        values = {kind: Decimal(str(rate)) for kind, rate in rates.items()}
        if any(not v.is_finite() or v < 0 for v in values.values()):
            raise ValueError("a price is at least 0 USD per million tokens")
        return cls(**values)

    def cost_usd(self, usage: Usage) -> Decimal:
        """USD of one completion, to the nano-dollar.

        Cached and cache-write tokens are part of `prompt_tokens` and are charged at their own
        rates. Source: the `usage` object of OpenAI's and OpenRouter's chat completions.
        """
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
        plain = usage.prompt_tokens - cached - written
        total = (
            plain * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + usage.completion_tokens * self.output
        )
        return (total / MTOK).quantize(NANO, rounding=ROUND_HALF_EVEN)


_DATED = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest)$")


@dataclass(frozen=True)
class PriceTable:
    """Every price known, by the names that upstreams use for their models."""

    version: str
    by_name: Mapping[str, Price]
    overrides: Mapping[str, Price] = field(default_factory=dict)

    def find(self, model: str) -> Price | None:
        """The price of a model as an upstream names it; None where it is not known.

        `openai/gpt-5`, `gpt-5`, `gpt-5-2025-08-07` and `GPT-5` all find GPT-5. An
        aggregator's own entry (with the vendor before the slash) goes before the vendor's.
        """
        for name in _spellings(model):
            for prices in (self.overrides, self.by_name):
                if name in prices:
                    return prices[name]
        return None

    def with_overrides(self, overrides: Mapping[str, Price]) -> PriceTable:
        """The same table with the policy's own prices before the list's."""
        return PriceTable(self.version, self.by_name, dict(overrides))


def _spellings(model: str) -> list[str]:
    name = model.strip().lower()
    bare = name.rsplit("/", 1)[-1]
    names = []
    for spelling in (name, _DATED.sub("", name), bare, _DATED.sub("", bare)):
        names += [spelling, re.sub(r"(?<=\d)\.(?=\d)", "-", spelling)]
    return list(dict.fromkeys(names))


@lru_cache(maxsize=1)
def list_prices() -> PriceTable:
    """The list prices that ship with the package."""
    document = json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
    by_name: dict[str, Price] = {}
    aggregated = document["usd_per_mtok"].pop("openrouter")
    for models in document["usd_per_mtok"].values():
        for name, rates in models.items():
            by_name.setdefault(name.lower(), Price.of(rates))
    for name, rates in aggregated.items():
        price = Price.of(rates)
        by_name[name.lower()] = price
        bare = name.lower().rsplit("/", 1)[-1]
        if ":" not in bare:
            by_name.setdefault(bare, price)
    return PriceTable(document["version"], by_name)
