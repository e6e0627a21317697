"""genai-prices -> shared/fareway/prices.json: list prices that load in milliseconds.

The package itself takes over half a second to import, which a cold start would pay; so its
data is baked once a release (`make prices`), and a test keeps the file in step with uv.lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fareway.prices import Price, PriceTable, canonical

PRICES = Path(__file__).parents[1] / "shared" / "fareway" / "prices.json"
#: The vendors, whose models have bare names; then the aggregator, with the vendor before a slash.
PROVIDERS = ("openai", "anthropic", "google", "deepseek", "mistral", "x-ai", "openrouter")
KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
}
#: Noon UTC: outside DeepSeek's peak hours, so that its standard price is the one taken.
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
BATCH = {"processing": "batch"}

Rates = dict[str, Any]


def bake() -> dict[str, Any]:
    """The document that `prices.json` holds; USD per million tokens, as decimal text.

    `usd_per_mtok`: canonical name -> rates, as `Price.of` takes them.
    `also`: other names of these models, where our own spellings would not lead to their price.
    """
    listed: dict[str, Rates] = {}
    aliases: dict[str, str] = {}
    for provider, model in _models():
        rates = _rates(model, provider.id)
        if rates is None:
            continue
        name = canonical(model.id)
        listed.setdefault(name, rates)
        for alias in (name.rsplit("/", 1)[-1], *_equals(model.match)):
            aliases.setdefault(canonical(alias), name)
    _fold_batches(listed)
    table = PriceTable("", listed)
    also = {
        alias: name
        for alias, name in aliases.items()
        if alias not in listed and name in listed and table.find(alias) != table.find(name)
    }
    return {
        "version": f"genai-prices-{version('genai-prices')}",
        "usd_per_mtok": listed,
        "also": also,
    }


def _models() -> Iterator[tuple[Any, Any]]:
    from genai_prices import data

    by_id = {provider.id: provider for provider in data.providers}
    for id_ in PROVIDERS:
        for model in by_id[id_].models:
            yield by_id[id_], model


def _rates(model: Any, provider: str) -> Rates | None:
    rates = _of(model.get_prices(AS_OF))
    if "input" not in rates:
        return None
    if provider == "openrouter" and "anthropic/" in model.id and "cache_write" in rates:
        _add_hour(rates)
    own = [v.prices for v in model.price_variants or () if v.when == BATCH]
    if any(set(KINDS.values()) & set(prices.__dict__) for prices in own):
        _set_batch(rates, _of(model.get_prices(AS_OF, BATCH)))
    return rates


def _of(prices: Any) -> Rates:
    """genai-prices' rates of one model -> ours; tiers become prices `above` a prompt's size."""
    found = {kind: getattr(prices, name) for kind, name in KINDS.items()}
    if found["output"] is None:
        found["output"] = Decimal(0)  # embeddings, and what classifies: no rate is no charge
    found = {kind: price for kind, price in found.items() if price is not None}
    rates: Rates = {kind: _text(getattr(price, "base", price)) for kind, price in found.items()}
    starts = {t.start for price in found.values() for t in getattr(price, "tiers", ())}
    if starts:
        rates["above"] = {
            str(start): {kind: _text(_at(price, start)) for kind, price in found.items()}
            for start in sorted(starts)
        }
    return rates


def _at(price: Any, start: int) -> Decimal:
    reached = [t.price for t in getattr(price, "tiers", ()) if t.start <= start]
    return Decimal(reached[-1] if reached else getattr(price, "base", price))


def _add_hour(rates: Rates) -> None:
    """OpenRouter lists no rate for writes that Anthropic keeps an hour: it is twice the input's.

    Source: platform.claude.com/docs/en/build-with-claude/prompt-caching.
    """
    for tier in (rates, *rates.get("above", {}).values()):
        tier.setdefault("cache_write_1h", _text(2 * Decimal(tier["input"])))


def _set_batch(rates: Rates, batch: Rates) -> None:
    """Keeps a batch price where it is not just half of everything."""
    if Price.of(batch) != Price.of(rates).in_batch():
        rates["batch"] = batch


def _fold_batches(listed: dict[str, Rates]) -> None:
    """OpenRouter lists a model's batch price as a model of its own: `openai/gpt-5:batch`."""
    for name in [n for n in listed if n.endswith(":batch")]:
        base = listed.get(name.removesuffix(":batch"))
        if base is not None:
            _set_batch(base, listed.pop(name))


def _equals(match: Any) -> Iterator[str]:
    """The names that a model is matched by in full."""
    for clause in getattr(match, "or_", [match]):
        if hasattr(clause, "equals"):
            yield clause.equals


def _text(rate: Decimal) -> str:
    return format(Decimal(rate).normalize(), "f")


def text() -> str:
    """The file's text, one model a line, so that a change of price is a one-line diff."""
    document = bake()
    return (
        f'{{"version": {json.dumps(document["version"])},\n'
        f' "usd_per_mtok": {_lines(document["usd_per_mtok"])},\n'
        f' "also": {_lines(document["also"])}\n}}\n'
    )


def _lines(table: dict[str, Any]) -> str:
    lines = (f"  {json.dumps(name)}: {json.dumps(table[name])}" for name in sorted(table))
    return "{\n" + ",\n".join(lines) + "\n }"


if __name__ == "__main__":
    PRICES.write_text(text(), encoding="utf-8")
    print(f"wrote {PRICES}")
