"""genai-prices -> shared/fareway/prices.json: list prices that load in milliseconds.

The package itself takes over half a second to import, which a cold start would pay; so its
data is baked once a release (`make prices`), and a test keeps the file in step with uv.lock.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

PRICES = Path(__file__).parents[1] / "shared" / "fareway" / "prices.json"
PROVIDERS = ("openai", "anthropic", "google", "deepseek", "mistral", "x-ai", "openrouter")
KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
#: Noon UTC: outside DeepSeek's peak hours, so that its standard price is the one taken.
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)


def _usd_per_mtok(price: Any) -> str | None:
    """A plain or tiered price -> its base rate, as decimal text."""
    base = getattr(price, "base", price)
    return format(Decimal(base).normalize(), "f") if base is not None else None


def bake() -> dict[str, Any]:
    """The document that `prices.json` holds; USD per million tokens, as decimal text."""
    from genai_prices import data

    table: dict[str, dict[str, dict[str, str]]] = {}
    for provider in data.providers:
        if provider.id not in PROVIDERS:
            continue
        models = table.setdefault(provider.id, {})
        for model in provider.models:
            prices = model.get_prices(AS_OF)
            rates = {kind: _usd_per_mtok(getattr(prices, name)) for kind, name in KINDS.items()}
            if rates["input"] is not None and rates["output"] is not None:
                models[model.id] = {k: v for k, v in rates.items() if v is not None}
    return {"version": f"genai-prices-{version('genai-prices')}", "usd_per_mtok": table}


def text() -> str:
    """The file's text, one model a line, so that a change of price is a one-line diff."""
    document = bake()
    lines = [
        f"  {json.dumps(provider)}: {{\n"
        + ",\n".join(f"   {json.dumps(m)}: {json.dumps(p)}" for m, p in sorted(models.items()))
        + "\n  }"
        for provider, models in sorted(document["usd_per_mtok"].items())
    ]
    return (
        f'{{"version": {json.dumps(document["version"])},\n "usd_per_mtok": {{\n'
        + ",\n".join(lines)
        + "\n }}\n"
    )


if __name__ == "__main__":
    PRICES.write_text(text(), encoding="utf-8")
    print(f"wrote {PRICES}")
