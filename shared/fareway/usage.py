"""A `usage` object of any upstream -> Usage, and the cost that it tells. Pure.

What upstreams disagree on is which counts hold which: each dialect is read here into one form, in
which the prompt's tokens hold the cached ones and the completion's the reasoning.

Sources: the types of the `openai` SDK (CompletionUsage, ResponseUsage, CreateEmbeddingResponse) and
of the `anthropic` SDK (Usage, CacheCreation); openrouter.ai/docs/use-cases/usage-accounting;
api-docs.deepseek.com/guides/kv_cache; ai.google.dev/api/generate-content#UsageMetadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from fareway.prices import Usage

#: More in one completion is nonsense, and sums of it would not fit the ledger's columns.
MOST_TOKENS = 500_000_000
MOST_USD = 1_000_000
NOTHING: Mapping[str, Any] = {}
_ANTHROPICS = {"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"}


def read_usage(told: object) -> Usage | None:
    """An upstream's usage object -> Usage; None if it tells nothing.

    Args:
        told: the JSON as it came: `usage` of OpenAI's chat, responses and embeddings and of all
            that follow them, `usage` of Anthropic's messages, or Gemini's `usageMetadata`. Counts
            that are no counts are left out, details never exceed their totals.
    """
    if not isinstance(told, Mapping):
        return None
    if "promptTokenCount" in told or "totalTokenCount" in told:
        usage = _gemini(told)
    elif "input_tokens" in told and "prompt_tokens" not in told and told.keys() & _ANTHROPICS:
        usage = _anthropic(told)
    else:
        usage = _openai(told)
    return usage.clipped() if usage.prompt_tokens or usage.completion_tokens else None


def read_cost(told: object) -> Decimal | None:
    """What the upstream says that the completion cost, USD; None if it does not say all of it.

    OpenRouter's `cost` is what it charged itself. With a key of one's own (`is_byok`) that is its
    fee alone, and the vendor's charge comes on top; without, `upstream_inference_cost` is a part of
    `cost`, told again. Where `is_byok` is missing, only a vendor's charge above `cost` is on top.
    """
    if not isinstance(told, Mapping):
        return None
    cost = _usd(told.get("cost"))
    upstream = _usd(_part(told, "cost_details").get("upstream_inference_cost"))
    own_key = told.get("is_byok")
    if own_key is None:
        own_key = cost is not None and upstream is not None and upstream > cost
    if own_key is not True or cost is None:
        return cost
    return None if upstream is None else cost + upstream


def _openai(told: Mapping[str, Any]) -> Usage:
    """OpenAI and its followers: a total holds its details.

    Gemini's compatible endpoint and xAI count thinking in `total_tokens` alone, and some proxies
    the cache: what the total holds beyond both sides is put where it belongs.
    """
    prompt = _count(told, "prompt_tokens") or _count(told, "input_tokens")
    completion = _count(told, "completion_tokens") or _count(told, "output_tokens")
    inputs = _part(told, "prompt_tokens_details") or _part(told, "input_tokens_details")
    outputs = _part(told, "completion_tokens_details") or _part(told, "output_tokens_details")
    cached = (
        _count(inputs, "cached_tokens")
        or _count(told, "prompt_cache_hit_tokens")  # DeepSeek
        or _count(told, "cache_read_input_tokens")  # LiteLLM's name, from Anthropic
    )
    written, written_1h = _written(told)
    written = _count(inputs, "cache_write_tokens") or written
    reasoning = _reasoning(outputs)
    beyond = _count(told, "total_tokens") - prompt - completion
    if beyond > 0 and (not prompt or beyond == cached + written):
        prompt += beyond
    elif beyond > 0:
        completion += beyond
        reasoning = max(reasoning, beyond)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        prompt_audio_tokens=_count(inputs, "audio_tokens"),
        completion_audio_tokens=_count(outputs, "audio_tokens"),
        reasoning_tokens=reasoning,
        batch=told.get("service_tier") == "batch",
    )


def _anthropic(told: Mapping[str, Any]) -> Usage:
    """Anthropic's messages: `input_tokens` are those neither read from a cache nor written."""
    cached = _count(told, "cache_read_input_tokens")
    written, written_1h = _written(told)
    return Usage(
        prompt_tokens=_count(told, "input_tokens") + cached + written,
        completion_tokens=_count(told, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=_reasoning(_part(told, "output_tokens_details")),
        batch=told.get("service_tier") == "batch",
    )


def _gemini(told: Mapping[str, Any]) -> Usage:
    """Gemini's own API: thoughts are beside the candidates, a tool's text beside the prompt."""
    cached = _count(told, "cachedContentTokenCount")
    thoughts = _count(told, "thoughtsTokenCount")
    audio = _audio(told, "promptTokensDetails") - _audio(told, "cacheTokensDetails")
    return Usage(
        prompt_tokens=_count(told, "promptTokenCount") + _count(told, "toolUsePromptTokenCount"),
        completion_tokens=_count(told, "candidatesTokenCount") + thoughts,
        cached_tokens=cached,
        prompt_audio_tokens=max(0, audio),
        completion_audio_tokens=_audio(told, "candidatesTokensDetails"),
        reasoning_tokens=thoughts,
    )


def _written(told: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens that Anthropic wrote to a cache: all of them, and those kept for an hour."""
    split = _part(told, "cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens")
    both = hour + _count(split, "ephemeral_5m_input_tokens")
    return max(_count(told, "cache_creation_input_tokens"), both), hour


def _reasoning(outputs: Mapping[str, Any]) -> int:
    return _count(outputs, "reasoning_tokens") or _count(outputs, "thinking_tokens")


def _audio(told: Mapping[str, Any], name: str) -> int:
    """Gemini's details are a list of `{"modality": "AUDIO", "tokenCount": 100}`."""
    details = told.get(name)
    parts = details if isinstance(details, list) else []
    return sum(
        _count(part, "tokenCount")
        for part in parts
        if isinstance(part, Mapping) and part.get("modality") == "AUDIO"
    )


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    return value if isinstance(value, Mapping) else NOTHING


def _count(told: Mapping[str, Any], name: str) -> int:
    """A count, or 0 where it is none. A whole number may come as `12.0`."""
    value = told.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 < value <= MOST_TOKENS else 0


def _usd(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        return None
    return usd if usd.is_finite() and 0 <= usd < MOST_USD else None
