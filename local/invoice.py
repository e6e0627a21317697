"""What a simulated provider bills: list prices by genai-prices, and a line for each generation.

None of the package's own arithmetic is used. Billed is what was generated: answers that were sent,
what was sent of a stream that was cut, and answers that were lost on their way. Other failures are
free, as OpenRouter has it (openrouter.ai/docs/guides/features/zero-completion-insurance). A batch
is half the price (platform.openai.com/docs/guides/batch, docs.anthropic.com's batch-processing).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

Name = Literal["openrouter", "tokenmix", "openai", "anthropic"]
BATCH = Decimal("0.5")
#: What GET /v1/models lists; any model that genai-prices knows is served.
MODELS = (
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-sonnet-5.5",
    "deepseek/deepseek-v4-flash",
    "google/gemini-2.5-flash-lite",
    "openai/gpt-4o-mini",
    "openai/gpt-5",
    "qwen/qwen3.8-flash",
)
#: Noon UTC, outside DeepSeek's peak hours: a price must not depend on when a test runs.
PRICED_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


class UnknownModel(Exception):
    """No such model here."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; reasoning is part of the completion, cached of the prompt."""

    prompt: int
    cached: int
    completion: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Line:
    """A generation on the invoice.

    Args:
        id: of its completion, a batch's row's own; embeddings have none.
        cut: only a part was sent, and is charged.
    """

    id: str
    model: str
    usage: Usage
    cost_usd: Decimal
    cut: bool = False


@dataclass(slots=True)
class Bill:
    """What one model cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(slots=True)
class Invoice:
    """All that was billed, in order."""

    name: Name
    lines: list[Line] = field(default_factory=list)

    def add(
        self, id_: str, model: str, usage: Usage, *, cut: bool = False, batch: bool = False
    ) -> None:
        """Puts what was generated on the invoice."""
        price = price_usd(self.name, model, usage) * (BATCH if batch else 1)
        self.lines.append(Line(id_, model, usage, price, cut))

    def told(self) -> dict[str, Any]:
        """Calls, tokens and USD (exact, as text), by model and in all."""
        bills: dict[str, Bill] = defaultdict(Bill)
        total = Bill()
        for line in self.lines:
            for bill in (total, bills[line.model]):
                bill.calls += 1
                bill.prompt_tokens += line.usage.prompt
                bill.completion_tokens += line.usage.completion
                bill.cost_usd += line.cost_usd

        def sums(bill: Bill) -> dict[str, Any]:
            return {
                "calls": bill.calls,
                "prompt_tokens": bill.prompt_tokens,
                "completion_tokens": bill.completion_tokens,
                "cost_usd": _exact(bill.cost_usd),
            }

        return sums(total) | {"models": {model: sums(b) for model, b in bills.items()}}

    def generations(self) -> list[dict[str, Any]]:
        """The invoice's lines, in the order in which they were billed; USD exact, as text."""
        return [
            {"id": one.id, "model": one.model, "cost_usd": _exact(one.cost_usd), "cut": one.cut}
            for one in self.lines
        ]


@lru_cache(maxsize=4096)
def price_usd(name: Name, model: str, usage: Usage) -> Decimal:
    """List price of one answer, USD.

    Raises:
        UnknownModel: it has no price.
    """
    provider, known_as = _price_source(name, model)
    return calc_price(
        PricedUsage(
            input_tokens=usage.prompt,
            cache_read_tokens=usage.cached,
            output_tokens=usage.completion,
        ),
        known_as,
        provider_id=provider,
        genai_request_timestamp=PRICED_AT,
    ).total_price


@lru_cache(maxsize=1024)
def _price_source(name: Name, model: str) -> tuple[str | None, str]:
    """(provider, model) of genai-prices; a bare id that no vendor lists is OpenRouter's."""
    tries: list[tuple[str | None, str]] = [(None if name == "tokenmix" else name, model)]
    if name == "tokenmix":
        tries += [("openrouter", known) for known in MODELS if known.split("/")[1] == model]
    if "embedding" in model:  # which no aggregator's list in genai-prices has
        tries.append(("openai", model.rsplit("/", 1)[-1]))
    for provider, known_as in tries:
        try:
            calc_price(PricedUsage(input_tokens=1), known_as, provider_id=provider)
        except LookupError:
            continue
        return provider, known_as
    raise UnknownModel(model)


def _exact(usd: Decimal) -> str:
    return format(usd.normalize(), "f")
