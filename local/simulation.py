"""What a simulated aggregator says, charges and gets wrong; no HTTP in here.

Everything is computed from the request, so that a run can be repeated to the last cent: equal
requests to a fresh simulator get equal answers at equal prices.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from local.forms import as_json, logprobs, tool_calls
from local.invoice import MODELS, Invoice, Name, Usage, price_usd

Mode = Literal[
    "refuse_500", "429", "timeout", "html_502", "error_in_200", "invalid_json",
    "401", "400", "slow", "drop", "lost",
]  # fmt: skip

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
class Simulation:
    """The state of one aggregator."""

    name: Name
    failures: list[Failure] = field(default_factory=list)
    invoice: Invoice = field(init=False)
    asked: int = 0
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=1000))
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.invoice = Invoice(self.name)

    def reset(self) -> None:
        """Forgets failures, the invoice, requests and cached prompts."""
        for kept in (self.failures, self.invoice.lines, self.requests, self.seen):
            kept.clear()
        self.asked = 0

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
            UnknownModel: it has no price.
        """
        prompt = prompt_text(body)
        seed = int.from_bytes(hashlib.sha256(f"{model}\0{prompt}".encode()).digest()[:8])
        prompt_tokens = max(1, len(prompt) // CHARACTERS_PER_TOKEN)
        reasoning = seed % 400 if any(word in model for word in REASONING) else 0
        wanted = 40 + seed % (160 if prompt_tokens < 60 else 480)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        completion = min(reasoning + wanted, limit)
        reasoning = min(reasoning, completion)
        choices = body.get("n") or 1  # the prompt is read once, and each choice is generated
        usage = Usage(
            prompt_tokens, self._cached(model, prompt), choices * completion, choices * reasoning
        )
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


def _text(seed: int, tokens: int, body: Mapping[str, Any]) -> str:
    """Sentences of the given length, tokens; JSON where that was asked for."""
    length = max(1, tokens * CHARACTERS_PER_TOKEN)
    turn = seed % len(SENTENCES)
    page = " ".join(SENTENCES[turn:] + SENTENCES[:turn]) + " "
    return as_json(body, (page * (length // len(page) + 1))[:length].strip())


def embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Vectors that say nothing, one for each input."""
    given = body["input"]
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    tokens = sum(len(x) // (4 if isinstance(x, str) else 1) + 1 for x in inputs)
    data = [
        {"object": "embedding", "index": i, "embedding": [len(x) % 7 / 7, 0.5, -0.5]}
        for i, x in enumerate(inputs)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}
