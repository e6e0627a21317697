"""Model x usage -> USD. Pure; list prices come from `prices.json`, overrides from the policy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

NANO = Decimal("0.000000001")
MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one completion used; kinds within a total are counted in it too.

    Args:
        prompt_tokens: all input tokens, cached and cache-write ones included.
        completion_tokens: all output tokens, reasoning included.
        cache_write_tokens: written to the upstream's cache, for however long.
        cache_write_1h_tokens: those of them that are kept for an hour.
        prompt_audio_tokens: heard anew; audio read from a cache counts as cached alone.
        estimated: no usage was reported and the counts are ours.
        batch: the completion came from a batch job.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    prompt_audio_tokens: int = 0
    completion_audio_tokens: int = 0
    estimated: bool = False
    batch: bool = False

    @property
    def audio_tokens(self) -> int:
        return self.prompt_audio_tokens + self.completion_audio_tokens

    def clipped(self) -> Usage:
        """The same, with no kind beyond what its total leaves for it."""
        plain = self.cached_tokens == self.cache_write_tokens == self.reasoning_tokens == 0
        if plain and self.audio_tokens == self.cache_write_1h_tokens == 0:
            return self
        cached = min(self.cached_tokens, self.prompt_tokens)
        written = min(self.cache_write_tokens, self.prompt_tokens - cached)
        reasoning = min(self.reasoning_tokens, self.completion_tokens)
        return replace(
            self,
            cached_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(self.cache_write_1h_tokens, written),
            prompt_audio_tokens=min(
                self.prompt_audio_tokens, self.prompt_tokens - cached - written
            ),
            reasoning_tokens=reasoning,
            completion_audio_tokens=min(
                self.completion_audio_tokens, self.completion_tokens - reasoning
            ),
        )


#: A rate -> the rate that holds where it is not given; each is a kind of what stands behind it.
_KIND_OF = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "audio_output": "output",
    "reasoning": "output",
}
RATES = ("input", "output", *_KIND_OF)
_MOST_USD_PER_MTOK = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Rates of one model, USD per million tokens.

    A rate that is not given is that of what it is a kind of: `cache_write_1h` of `cache_write`;
    `cached`, `cache_write`, `audio_input` of `input`; `audio_output`, `reasoning` of `output`.

    Args:
        above: (prompt tokens, the price of a whole completion whose prompt has more), ascending.
        batch: the price in a batch job; half of each rate where it is not given.
    """

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    reasoning: Decimal | None = None
    above: tuple[tuple[int, Price], ...] = ()
    batch: Price | None = None

    @classmethod
    def of(cls, rates: Mapping[str, Any], nested: Sequence[str] = ("above", "batch")) -> Price:
        """`{"input": "1.25", "output": "10", "above": {"200000": {...}}, "batch": {...}}` -> Price.

        Args:
            nested: which tables of rates may stand within this one.

        Raises:
            ValueError: a rate is missing, negative or no number, or a name is unknown.
        """
        if unknown := set(rates) - {*RATES, *nested}:
            raise ValueError(
                f"unknown rate {min(unknown)!r}; there are {', '.join([*RATES, *nested])}"
            )
        if not {"input", "output"} <= set(rates):
            raise ValueError("a price has at least `input` and `output`")
        tiers = _table("above", rates.get("above", {}))
        above = {_tokens(n): _nested(f"above.{n}", t, ()) for n, t in tiers.items()}
        batch = rates.get("batch")
        return cls(
            **{kind: _rate(kind, rates[kind]) for kind in RATES if kind in rates},
            above=tuple(sorted(above.items(), key=lambda tier: tier[0])),
            batch=None if batch is None else _nested("batch", batch, ("above",)),
        )

    def in_batch(self) -> Price:
        """What the same costs in a batch job."""
        if self.batch is not None:
            return self.batch
        halves = {kind: rate / 2 for kind in RATES if (rate := getattr(self, kind)) is not None}
        return Price(**halves, above=tuple((n, tier.in_batch()) for n, tier in self.above))

    def rate(self, kind: str) -> Decimal:
        """The rate of a kind of tokens, USD per million."""
        own: Decimal | None = getattr(self, kind)
        return self.rate(_KIND_OF[kind]) if own is None else own

    def cost_usd(self, usage: Usage) -> Decimal:
        """USD of one completion, to the nano-dollar: each token is charged once, by its kind."""
        used = usage.clipped()
        price = self.in_batch() if used.batch else self
        for tokens, tier in price.above:
            if used.prompt_tokens > tokens:
                price = tier
        written = used.cache_write_tokens - used.cache_write_1h_tokens
        heard, said = used.prompt_audio_tokens, used.completion_audio_tokens
        by_kind = {
            "input": used.prompt_tokens - used.cached_tokens - used.cache_write_tokens - heard,
            "cached": used.cached_tokens,
            "cache_write": written,
            "cache_write_1h": used.cache_write_1h_tokens,
            "audio_input": heard,
            "output": used.completion_tokens - used.reasoning_tokens - said,
            "reasoning": used.reasoning_tokens,
            "audio_output": said,
        }
        total = sum((n * price.rate(kind) for kind, n in by_kind.items() if n), Decimal(0))
        return (total / MTOK).quantize(NANO, rounding=ROUND_HALF_EVEN)


def _rate(kind: str, value: object) -> Decimal:
    try:
        rate = Decimal(str(value))
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or not 0 <= rate < _MOST_USD_PER_MTOK:
        raise ValueError(f"`{kind}` is USD per million tokens, at least 0, not {value!r}")
    return rate


def _tokens(name: str) -> int:
    if not (digits := name.replace("_", "")).isdecimal():
        raise ValueError(f"`above` has tables by tokens of the prompt, as `200_000`, not {name!r}")
    return int(digits)


def _table(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` is a table, not {value!r}")
    return value


def _nested(name: str, rates: object, nested: Sequence[str]) -> Price:
    try:
        return Price.of(_table(name, rates), nested)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


#: Names that a table remembers the price of; callers may name any.
_FOUND = 1_024
FREE = Price(Decimal(0), Decimal(0))
#: OpenRouter's suffixes that change the way to a model and not its price; others, as `:thinking`,
#: are models of their own in its list. Source: openrouter.ai/docs/guides/routing/model-variants.
_SAME_PRICE = frozenset({"nitro", "floor", "exacto", "beta"})
_DATED = re.compile(r"[-@](\d{8}|\d{4}-\d{2}-\d{2}|latest)$")
_VERSION_FIRST = re.compile(r"\bclaude-(\d+(?:-\d+)?)-([a-z]+)")


def canonical(model: str) -> str:
    """A model's name in one spelling: `x/Claude-4.5-Haiku` -> `x/claude-haiku-4-5`."""
    name = re.sub(r"(?<=\d)\.(?=\d)", "-", model.strip().lower())
    return _VERSION_FIRST.sub(r"claude-\2-\1", name)


@dataclass(frozen=True)
class PriceTable:
    """Every price known, by the names that upstreams use for their models.

    Args:
        listed: canonical name -> rates, as `Price.of` takes them: a few of a thousand are ever
            asked for, and a cold start waits for none.
        overrides: canonical name -> the policy's own price; these go first.
    """

    version: str
    listed: Mapping[str, Mapping[str, Any]]
    overrides: Mapping[str, Price] = field(default_factory=dict)
    _made: dict[str, Price] = field(default_factory=dict, repr=False, compare=False)
    _found: dict[str, Price | None] = field(default_factory=dict, repr=False, compare=False)

    def find(self, model: str) -> Price | None:
        """The price of a model as an upstream names it; None where it is not known.

        `openai/gpt-5`, `gpt-5`, `gpt-5-2025-08-07` and `GPT-5` all find GPT-5. An
        aggregator's own entry (with the vendor before the slash) goes before the vendor's.
        """
        if model not in self._found:
            found = self._find(model)
            if len(self._found) >= _FOUND:
                return found
            self._found[model] = found
        return self._found[model]

    def _find(self, model: str) -> Price | None:
        name = canonical(model)
        if (price := self._known(name)) is not None:
            return price
        base, _, variant = name.partition(":")
        if variant == "free":
            return FREE
        price = self._known(base) if variant == "batch" or variant in _SAME_PRICE else None
        if price is not None and variant == "batch":
            price = price.in_batch()
            return replace(price, batch=price)  # it is one already: not to be halved again
        return price

    def _known(self, name: str) -> Price | None:
        names = _spellings(name)
        for spelling in names:
            if spelling in self.overrides:
                return self.overrides[spelling]
        for spelling in names:
            if spelling in self.listed:
                if spelling not in self._made:
                    self._made[spelling] = Price.of(self.listed[spelling])
                return self._made[spelling]
        return None

    def with_overrides(self, overrides: Mapping[str, Price]) -> PriceTable:
        """The same table with the policy's own prices before the list's."""
        own = {canonical(model): price for model, price in overrides.items()}
        return PriceTable(self.version, self.listed, own, self._made)


def _spellings(name: str) -> list[str]:
    bare = name.rsplit("/", 1)[-1]
    return [name, _DATED.sub("", name), bare, _DATED.sub("", bare)]


@lru_cache(maxsize=1)
def list_prices() -> PriceTable:
    """The list prices that ship with the package."""
    document = json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
    listed = document["usd_per_mtok"]
    also = {name: listed[model] for name, model in document["also"].items()}
    return PriceTable(document["version"], listed | also)
