"""What a simulated aggregator says, charges and gets wrong; no HTTP in here.

Everything is computed from the request, so that a run can be repeated to the last cent: equal
requests to a fresh simulator get equal answers at equal prices.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from local.forms import as_json, logprobs, tool_calls

Name = Literal["openrouter", "tokenmix"]
Mode = Literal[
    "refuse_500", "429", "timeout", "html_502", "error_in_200", "invalid_json",
    "401", "400", "slow", "drop",
]  # fmt: skip

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
CHARACTERS_PER_TOKEN = 4
REASONING = ("gpt-5", "o3", "o4", "r1", "reasoner", "thinking")
CACHED_HEAD = 1024  # tokens; what a prompt cache holds of a long prompt
SENTENCES = (
    "Begin with the simplest case and check it against a second source.",
    "What comes first decides most of what follows.",
    "Later changes cost more than they save, so settle the order early.",
    "If two readings are possible, say which one you took.",
    "The figures above hold for the usual range; outside of it, measure again.",
)


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
class Reply:
    """One answer and what it costs, USD."""

    text: str
    finish_reason: str
    usage: Usage
    cost_usd: Decimal
    latency_ms: float
    calls: list[dict[str, Any]]
    logprobs: dict[str, Any] | None


@dataclass(slots=True)
class Failure:
    """What goes wrong, for which models (None: all) and how often (None: until reset).

    Units: `retry_after` and `seconds` (of `slow`) seconds.
    """

    mode: Mode
    models: list[str] | None = None
    times: int | None = None
    retry_after: float | None = None
    seconds: float = 2.0


@dataclass(slots=True)
class Bill:
    """What one model cost so far."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(slots=True)
class Simulation:
    """The state of one aggregator. Only answers that were sent are billed, failures are not."""

    name: Name
    failures: list[Failure] = field(default_factory=list)
    bills: dict[str, Bill] = field(default_factory=lambda: defaultdict(Bill))
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    seen: set[str] = field(default_factory=set)

    def reset(self) -> None:
        """Forgets failures, bills, requests and cached prompts."""
        for kept in (self.failures, self.bills, self.requests, self.seen):
            kept.clear()

    def models(self) -> dict[str, Any]:
        """What GET /v1/models lists."""
        ids = [m if self.name == "openrouter" else m.split("/")[1] for m in MODELS]
        listed = [{"id": m, "object": "model", "created": 1_760_000_000} for m in ids]
        return {"object": "list", "data": listed}

    def failure(self, model: str) -> Failure | None:
        """The failure that this call meets, if any; it is used up by that."""
        for failure in self.failures:
            if failure.models is None or model in failure.models:
                if failure.times is not None:
                    failure.times -= 1
                    if failure.times <= 0:
                        self.failures.remove(failure)
                return failure
        return None

    def reply(self, model: str, body: Mapping[str, Any]) -> Reply:
        """The answer to a request.

        Raises:
            UnknownModel: genai-prices knows no such model.
        """
        prompt = prompt_text(body)
        seed = int.from_bytes(hashlib.sha256(f"{model}\0{prompt}".encode()).digest()[:8])
        prompt_tokens = max(1, len(prompt) // CHARACTERS_PER_TOKEN)
        reasoning = seed % 400 if any(word in model for word in REASONING) else 0
        wanted = 40 + seed % (160 if prompt_tokens < 60 else 480)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        completion = min(reasoning + wanted, limit)
        reasoning = min(reasoning, completion)
        usage = Usage(prompt_tokens, self._cached(model, prompt), completion, reasoning)
        text, calls = _text(seed, completion - reasoning, body), tool_calls(body)
        ending = "tool_calls" if calls else "length" if completion == limit else "stop"
        return Reply(
            text=text,
            finish_reason=ending,
            usage=usage,
            cost_usd=price_usd(self.name, model, usage),
            latency_ms=60 + seed % 190,
            calls=calls,
            logprobs=logprobs(body, text),
        )

    def bill(self, model: str, reply: Reply) -> None:
        """Puts an answer on the invoice."""
        bill = self.bills[model]
        bill.calls += 1
        bill.prompt_tokens += reply.usage.prompt
        bill.completion_tokens += reply.usage.completion
        bill.cost_usd += reply.cost_usd

    def invoice(self) -> dict[str, Any]:
        """Calls, tokens and USD (exact, as text), by model and in all."""

        def line(bill: Bill) -> dict[str, Any]:
            return {
                "calls": bill.calls,
                "prompt_tokens": bill.prompt_tokens,
                "completion_tokens": bill.completion_tokens,
                "cost_usd": format(bill.cost_usd.normalize(), "f"),
            }

        total = Bill()
        for bill in self.bills.values():
            total.calls += bill.calls
            total.prompt_tokens += bill.prompt_tokens
            total.completion_tokens += bill.completion_tokens
            total.cost_usd += bill.cost_usd
        return line(total) | {"models": {model: line(b) for model, b in self.bills.items()}}

    def _cached(self, model: str, prompt: str) -> int:
        """How much of a long prompt this model has read before, tokens."""
        tokens = len(prompt) // CHARACTERS_PER_TOKEN
        if tokens < CACHED_HEAD:
            return 0
        head = prompt[: CACHED_HEAD * CHARACTERS_PER_TOKEN]
        mark = hashlib.sha256(f"{model}\0{head}".encode()).hexdigest()
        if mark not in self.seen:
            self.seen.add(mark)
            return 0
        return CACHED_HEAD


def prompt_text(body: Mapping[str, Any]) -> str:
    """All text of the messages; a part that is no text counts as its JSON."""
    texts = []
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            texts += [part.get("text") or json.dumps(part) for part in content]
        else:
            texts.append(content or "")
    return "\n".join(texts)


def price_usd(name: Name, model: str, usage: Usage) -> Decimal:
    """List price of one answer, USD.

    Raises:
        UnknownModel: genai-prices knows no such model.
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
    tries: list[tuple[str | None, str]] = [("openrouter" if name == "openrouter" else None, model)]
    if name == "tokenmix":
        tries += [("openrouter", known) for known in MODELS if known.split("/")[1] == model]
    for provider, known_as in tries:
        try:
            calc_price(PricedUsage(input_tokens=1), known_as, provider_id=provider)
        except LookupError:
            continue
        return provider, known_as
    raise UnknownModel(model)


def _text(seed: int, tokens: int, body: Mapping[str, Any]) -> str:
    """Sentences of the given length, tokens; JSON where that was asked for."""
    length = max(1, tokens * CHARACTERS_PER_TOKEN)
    turn = seed % len(SENTENCES)
    page = " ".join(SENTENCES[turn:] + SENTENCES[:turn]) + " "
    return as_json(body, (page * (length // len(page) + 1))[:length].strip())


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Vectors that say nothing, one for each input; they are not on the invoice."""
    given = body["input"]
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    tokens = sum(len(x) // (4 if isinstance(x, str) else 1) + 1 for x in inputs)
    data = [
        {"object": "embedding", "index": i, "embedding": [len(x) % 7 / 7, 0.5, -0.5]}
        for i, x in enumerate(inputs)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}
